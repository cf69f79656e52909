package config_test

import (
	"strings"
	"testing"

	"firetower/config"
)

// Any bytes as a file are either understood or a list of problems that all name
// the file; places lie within it.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "chanLens = 3", "[bucket]\nNum = 4\n", "bucket = { Num = 1, x = [1, {}] }", "a.b.c = 1\n[a.b]\nd = 2",
		"[[bucket]]\nNum = 1\n[bucket.x]\ny = 1", "\"a\\u0000b\" = 1", "'' = 1", "heartbeat = 1979-05-27T07:32:00Z", "x = \"\"\"\n\n\"\"\"\ny = 1",
		"\xff", "[", "=", "a = nan", "a = 0x_", "[bucket", "\r\nchanLens = 1\r\n", "# é\nchanLens = '\\'",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		paths, at, err := config.ParseFile(data)
		if err != nil && len(paths) > 0 {
			t.Errorf("both entries and an error: %v", err)
		}
		for i, line := range at {
			if line < 1 || line > 1+strings.Count(string(data), "\n") {
				t.Errorf("%s on line %d", paths[i], line)
			}
			if i > 0 && line < at[i-1] {
				t.Errorf("%s on line %d, after one on line %d", paths[i], line, at[i-1])
			}
		}
		for _, s := range both() {
			_, err := load(s, fileOf(s, string(data)+"\n"))
			for _, problem := range lines(err) {
				// A text of the file may span lines in TOML's own messages.
				if strings.HasPrefix(problem, "gw.toml") || strings.HasPrefix(problem, "mgr.toml") || strings.HasPrefix(problem, "link.") {
					continue
				}
				t.Errorf("problem without a place: %q in %v", problem, err)
			}
		}
	})
}
