package config

import (
	"maps"
	"slices"
	"strings"
)

// fromEnvironment lists what variables set, by service.
func (ls *loaders) fromEnvironment() map[*loader][]assignment {
	variables := map[string]string{}
	for _, pair := range ls.src.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, EnvPrefix) && !isReserved(name) {
			variables[name] = value // of a name given twice the last counts, as in a shell
		}
	}
	out := map[*loader][]assignment{}
	given := map[*key]string{} // which variable named the key
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		origin := Origin{Kind: FromEnvironment, Name: name}
		hits := ls.names.find(strings.TrimPrefix(name, EnvPrefix), foldEnv)
		if len(hits) == 0 {
			reason := "unknown variable"
			if near := ls.names.suggest(name, services(), envName); near != "" {
				reason += ", did you mean " + near + "?"
			}
			ls.problem(origin, "", reason)
			continue
		}
		// A variable for the other service is none of ours: an environment may be
		// shared by several processes.
		for _, a := range ls.choose(hits, origin, func(t target) string { return envName(scopedName(t.service, t.path)) }) {
			a.value = input{text: variables[name]}
			if other, twice := given[a.key]; twice {
				ls.problem(origin, a.name, "is set by "+other+" as well")
				continue
			}
			given[a.key] = name
			l := ls.loaderOf(a.key)
			out[l] = append(out[l], a)
		}
	}
	return out
}
