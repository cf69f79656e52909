package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// Open reads a scenario: of the catalogue by its name, or a file when ref has a
// path separator or ends in .toml.
func Open(ref string) (Scenario, error) {
	if strings.ContainsRune(ref, filepath.Separator) || strings.HasSuffix(ref, ".toml") {
		data, err := os.ReadFile(filepath.Clean(ref))
		if err != nil {
			return Scenario{}, fmt.Errorf("read scenario: %w", err)
		}
		return Decode(ref, data)
	}
	data, err := catalogue.ReadFile("catalogue/" + ref + ".toml")
	if err != nil {
		return Scenario{}, fmt.Errorf("%w: %q%s (known: %s)", ErrUnknown, ref, didYouMean(ref, Names()), strings.Join(Names(), ", "))
	}
	return Decode("scenarios/catalogue/"+ref+".toml", data)
}
