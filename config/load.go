package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Sources is where a configuration comes from. The zero value gives defaults.
type Sources struct {
	// GatewayFile and ManagerFile are TOML files; empty is none.
	GatewayFile, ManagerFile string
	// ReadFile reads them, and secrets; nil takes os.ReadFile.
	ReadFile func(name string) ([]byte, error)
	// Environ holds KEY=value pairs; those that begin with EnvPrefix are settings.
	Environ []string
	// Flags are settings of the command line, the later over the earlier.
	Flags []Flag
}

// Flag is a setting of the command line.
type Flag struct {
	// Name is the flag as people know it, "--listen" or "--set".
	Name string
	// Service is the service whose key is meant; empty finds it by the name of
	// the key, which may then have the service before it: "manager.heartbeat".
	Service Service
	// Key is the path of the key.
	Key string
	// Value is its text.
	Value string
}

// LoadGateway loads the configuration of a gateway. Its error is SourceErrors.
func LoadGateway(src Sources) (*Gateway, error) {
	c := &Gateway{}
	ls := newLoaders(src)
	ls.begin(ServiceGateway, src.GatewayFile, gatewayKeys(c), c.crossCheck)
	if err := ls.load(); err != nil {
		return nil, err
	}
	c.resolved = ls.active[0].resolved()
	return c, nil
}

// LoadManager loads the configuration of a manager. Its error is SourceErrors.
func LoadManager(src Sources) (*Manager, error) {
	c := &Manager{}
	ls := newLoaders(src)
	ls.begin(ServiceManager, src.ManagerFile, managerKeys(c), c.crossCheck)
	if err := ls.load(); err != nil {
		return nil, err
	}
	c.resolved = ls.active[0].resolved()
	return c, nil
}

// LoadServe loads both for a process that runs a manager and a gateway. A
// variable or flag whose key both services have with different meanings must
// say which one it is for. Its error is SourceErrors.
func LoadServe(src Sources) (*Manager, *Gateway, error) {
	m, g := &Manager{}, &Gateway{}
	ls := newLoaders(src)
	ls.begin(ServiceManager, src.ManagerFile, managerKeys(m), m.crossCheck)
	ls.begin(ServiceGateway, src.GatewayFile, gatewayKeys(g), g.crossCheck)
	if err := ls.load(); err != nil {
		return nil, nil, err
	}
	m.resolved, g.resolved = ls.active[0].resolved(), ls.active[1].resolved()
	return m, g, nil
}

// loaders loads the services of one process.
type loaders struct {
	src      Sources
	names    *catalogue
	active   []*loader
	problems SourceErrors
}

// loader fills the configuration of one service.
type loader struct {
	service    Service
	file       string
	keys       []*key
	crossCheck func(*loader)
	notices    []string
	problems   *SourceErrors
}

// assignment is a value that a source has for a key.
type assignment struct {
	key    *key
	value  input
	origin Origin
	// name is the key as the source writes it.
	name string
}

func newLoaders(src Sources) *loaders {
	if src.ReadFile == nil {
		src.ReadFile = os.ReadFile
	}
	return &loaders{src: src, names: newCatalogue()}
}

func (ls *loaders) begin(s Service, file string, keys []*key, crossCheck func(*loader)) {
	ls.active = append(ls.active, &loader{
		service: s, file: file, keys: keys, crossCheck: crossCheck, problems: &ls.problems,
	})
}

// load applies the sources in the order in which they win over one another.
func (ls *loaders) load() error {
	for _, l := range ls.active {
		l.apply(l.defaults())
		l.apply(ls.fromFile(l))
	}
	environment := ls.fromEnvironment()
	flags := ls.fromFlags()
	for _, l := range ls.active {
		l.apply(environment[l])
		l.apply(flags[l])
		l.resolveFiles()
		l.resolveSecret(ls.src.ReadFile)
	}
	ls.mergeShared()
	// What combines several keys is judged once each of them is right alone.
	if len(ls.problems) == 0 {
		for _, l := range ls.active {
			l.crossCheck(l)
		}
		ls.checkListeners()
	}
	return ls.problems.err()
}

func (l *loader) defaults() []assignment {
	var out []assignment
	for _, k := range l.keys {
		if k.retired == "" && k.kind != KindPort {
			out = append(out, assignment{key: k, value: input{text: k.def}, origin: Origin{Kind: FromDefault}, name: k.path})
		}
	}
	return out
}

// apply parses what one source has and puts it in place. A port is put into its
// address last, so that the order within a source does not matter.
func (l *loader) apply(as []assignment) {
	addresses := map[string]assignment{} // by path, those that name a port
	var ports []assignment
	for _, a := range as {
		k := a.key
		if k.retired != "" {
			l.notices = append(l.notices, fmt.Sprintf("%s: %s: %s", a.origin.place(), a.name, k.retired))
			continue
		}
		if k.kind == KindPort {
			ports = append(ports, a)
			continue
		}
		v, err := k.parse(a.value)
		if err != nil {
			l.problem(a, "%v", err)
			continue
		}
		if address, ok := v.(parsedAddress); ok {
			if !address.hasPort && !k.hasPortKey(l.keys) {
				l.problem(a, "%q has no port: want host:port", address.Host)
				continue
			}
			if address.hasPort {
				addresses[k.path] = a
			}
			k.setAddress(address, a.origin)
			continue
		}
		k.set(v)
		k.origin = a.origin
	}
	for _, a := range ports {
		l.applyPort(a, addresses)
	}
}

func (l *loader) applyPort(a assignment, addresses map[string]assignment) {
	v, err := a.key.parse(a.value)
	if err != nil {
		l.problem(a, "%v", err)
		return
	}
	port, ok := v.(int64)
	if !ok {
		return // a KindPort parses to an integer
	}
	of := l.find(a.key.portOf)
	address, ok := of.to.(*Address)
	if !ok {
		return // the table's tests see to it
	}
	if named, ok := addresses[of.path]; ok && address.Port != int(port) {
		l.problem(a, "%d contradicts %s, which names port %d", port, named.name, address.Port)
		return
	}
	address.Port = int(port)
	address.On = true
	if origin := a.origin; of.origin != origin {
		of.portOrigin = &origin
	}
}

// setAddress puts an address in place; one without a port keeps the port that a
// weaker source gave.
func (k *key) setAddress(a parsedAddress, origin Origin) {
	to, ok := k.to.(*Address)
	if !ok {
		panic(fmt.Sprintf("config: key %s: no place for an address", k.path))
	}
	if !a.hasPort {
		if k.portOrigin == nil {
			before := k.origin
			k.portOrigin = &before
		}
		a.Port = to.Port
	} else {
		k.portOrigin = nil
	}
	*to = a.Address
	k.origin = origin
}

// find is the key at path, in any case; nil when there is none.
func (l *loader) find(path string) *key {
	for _, k := range l.keys {
		if strings.EqualFold(k.path, path) {
			return k
		}
	}
	return nil
}

// hasTable tells whether keys stand in the table of that folded name.
func (l *loader) hasTable(fold string) bool {
	return slices.ContainsFunc(l.keys, func(k *key) bool { return strings.HasPrefix(foldPath(k.path), fold+".") })
}

// problem notes what is wrong in a source.
func (ls *loaders) problem(origin Origin, key, reason string) {
	ls.problems = append(ls.problems, &SourceError{Origin: origin, Key: key, Reason: reason})
}

// problem notes what is wrong with an assignment.
func (l *loader) problem(a assignment, format string, args ...any) {
	*l.problems = append(*l.problems, &SourceError{Origin: a.origin, Key: a.name, Reason: fmt.Sprintf(format, args...)})
}

// problemWith notes what is wrong with a key's value in combination with others.
func (l *loader) problemWith(path, format string, args ...any) {
	k := l.find(path)
	*l.problems = append(*l.problems, &SourceError{Origin: k.origin, Key: k.path, Reason: fmt.Sprintf(format, args...)})
}
