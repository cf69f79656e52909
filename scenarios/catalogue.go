package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"firetower/config/suggest"
)

//go:embed catalogue/*.toml
var catalogue embed.FS

// ErrUnknown is wrapped by Open when the catalogue has no scenario of the name.
var ErrUnknown = errors.New("no such scenario")

// Names lists the catalogue, sorted.
func Names() []string {
	entries, err := fs.ReadDir(catalogue, "catalogue")
	if err != nil {
		panic("scenarios: the embedded catalogue cannot be read: " + err.Error())
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return out
}

// IsFile tells a file's name from that of a scenario of the catalogue: it has a
// path separator, or ends in .toml.
func IsFile(ref string) bool {
	return strings.ContainsRune(ref, filepath.Separator) || strings.HasSuffix(ref, ".toml")
}

// Open reads a scenario of the catalogue.
func Open(name string) (Scenario, error) {
	data, err := catalogue.ReadFile("catalogue/" + name + ".toml")
	if err != nil {
		return Scenario{}, fmt.Errorf("%w: %q%s (known: %s)", ErrUnknown, name, suggest.DidYouMean(name, Names()), strings.Join(Names(), ", "))
	}
	return Decode("scenarios/catalogue/"+name+".toml", data)
}
