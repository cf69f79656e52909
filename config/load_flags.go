package config

import (
	"fmt"
	"slices"
)

// fromFlags lists what the command line sets, by service.
func (ls *loaders) fromFlags() map[*loader][]assignment {
	out := map[*loader][]assignment{}
	given := map[*key]Flag{}
	for _, f := range ls.src.Flags {
		origin := Origin{Kind: FromFlag, Name: f.Name}
		var hits []target
		for _, hit := range ls.names.find(f.Key, foldPath) {
			if f.Service == "" || f.Service == hit.service && !hit.scoped {
				hits = append(hits, hit)
			}
		}
		if len(hits) == 0 {
			ls.unknownFlag(f, origin)
			continue
		}
		chosen := ls.choose(hits, origin, func(t target) string { return scopedName(t.service, t.path) })
		if chosen == nil && !ls.isActive(hits[0].service) {
			ls.problem(origin, f.Key, fmt.Sprintf("is a key of the %s, which this command does not run", hits[0].service))
		}
		for _, a := range chosen {
			a.value = input{text: f.Value}
			if a.key.kind == KindSecret {
				ls.problem(origin, a.name, "a secret on a command line can be read by every user of the machine: "+
					"put it into a file and name that, or into "+envName(a.key.path))
				continue
			}
			before, twice := given[a.key]
			if twice && before.Name != f.Name {
				ls.problem(origin, a.name, "is set by "+before.Name+" as well")
				continue
			}
			given[a.key] = f
			l := ls.loaderOf(a.key)
			out[l] = slices.DeleteFunc(out[l], func(b assignment) bool { return b.key == a.key })
			out[l] = append(out[l], a)
		}
	}
	return out
}

func (ls *loaders) unknownFlag(f Flag, origin Origin) {
	reason := "unknown key"
	var active []Service
	for _, l := range ls.active {
		active = append(active, l.service)
	}
	if near := ls.names.suggest(f.Key, active, func(p string) string { return p }); near != "" {
		reason += ", did you mean " + near + "?"
	}
	ls.problem(origin, f.Key, reason)
}

// choose picks, of the keys that a name stands for, those of services that are
// being loaded. A name that means different things to two of them is refused.
func (ls *loaders) choose(hits []target, origin Origin, scoped func(target) string) []assignment {
	var out []assignment
	var names []string
	shared := true
	for _, hit := range hits {
		l := ls.loaderFor(hit.service)
		if l == nil {
			continue
		}
		if len(ls.active) > 1 && hit.key.unusedInServe {
			if len(hits) == 1 {
				l.notices = append(l.notices, unusedNotice(origin, hit.path))
			}
			continue
		}
		k := l.find(hit.path)
		shared = shared && k.shared
		names = append(names, scoped(hit))
		out = append(out, assignment{key: k, origin: origin, name: k.path})
	}
	if len(out) > 1 && !shared {
		ls.problem(origin, out[0].name, "is a key of both services: say "+enumerate(names))
		return nil
	}
	return out
}

// unusedNotice tells of a key that a process with both services knows better.
func unusedNotice(origin Origin, name string) string {
	return fmt.Sprintf("%s: %s is not used: the gateway talks to the manager of its own process", origin.place(), name)
}

func (ls *loaders) isActive(s Service) bool { return ls.loaderFor(s) != nil }

// loaderFor is the loader of a service, nil when it is not being loaded.
func (ls *loaders) loaderFor(s Service) *loader {
	for _, l := range ls.active {
		if l.service == s {
			return l
		}
	}
	return nil
}

// loaderOf is the loader that k belongs to.
func (ls *loaders) loaderOf(k *key) *loader {
	for _, l := range ls.active {
		if slices.Contains(l.keys, k) {
			return l
		}
	}
	return nil
}
