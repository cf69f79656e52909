package config

import "strings"

// target is a key that a name stands for.
type target struct {
	service Service
	path    string
	// scoped tells that the name says which service is meant.
	scoped bool
	key    *key
}

// catalogue finds keys of any service by the names that the environment and
// flags give them.
//
// A name is a key's path, alone or after its service: "heartbeat",
// "gateway.heartbeat". The second form is for keys that both services have.
type catalogue struct {
	keys map[Service][]*key
}

func newCatalogue() *catalogue {
	c := &catalogue{keys: map[Service][]*key{}}
	for _, s := range services() {
		c.keys[s] = keysOf(s)
	}
	return c
}

// find lists the keys whose name is equal to name once fold is applied to both.
func (c *catalogue) find(name string, fold func(string) string) []target {
	var out []target
	name = fold(name)
	for _, s := range services() {
		for _, k := range c.keys[s] {
			switch name {
			case fold(k.path):
				out = append(out, target{service: s, path: k.path, key: k})
			case fold(scopedName(s, k.path)):
				out = append(out, target{service: s, path: k.path, key: k, scoped: true})
			}
		}
	}
	return out
}

// scopedName is a key's name with its service before it.
func scopedName(s Service, path string) string { return string(s) + "." + path }

// suggest names the key that was most likely meant, in the form that write
// gives it; "" when none is near.
func (c *catalogue) suggest(name string, among []Service, write func(string) string) string {
	var candidates []string
	for _, s := range among {
		for _, k := range c.keys[s] {
			if k.retired == "" {
				candidates = append(candidates, write(k.path))
			}
		}
	}
	return nearest(name, candidates)
}

// foldPath makes names of files and --set comparable: case does not count.
func foldPath(name string) string { return strings.ToLower(name) }

// foldEnv makes names of variables comparable: neither case nor the places of
// underscores count, so that FIRETOWER_BUCKET_BUFFCHANCOUNT is understood too.
func foldEnv(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", ".", "").Replace(name))
}

// isReserved tells whether a variable that begins with EnvPrefix is not a
// setting: these belong to the project's tests and its load harness, and the
// services that those start inherit them.
func isReserved(variable string) bool {
	switch variable {
	case "FIRETOWER_BIN", "FIRETOWER_GOLANGCI_LINT", "FIRETOWER_PROP_SEED":
		return true
	}
	return strings.HasPrefix(variable, "FIRETOWER_TEST_") || strings.HasPrefix(variable, "FIRETOWER_LOADTEST_")
}
