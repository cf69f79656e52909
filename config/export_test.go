package config

// What the tests of the tables and of the parser must see.

// EnvName and FoldEnv are the names of variables.
func EnvName(path string) string { return envName(path) }

// FoldEnv makes names of variables comparable.
func FoldEnv(name string) string { return foldEnv(name) }

// Nearest is the guess behind "did you mean".
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }

// Row is a row of a table, with what is not for users of the package.
type Row struct {
	Path, Default   string
	Kind            Kind
	Lo, Hi          int64
	Retired, PortOf string
	WellKnown       bool
	Shared          bool
	Choices         []string
}

// Rows lists a service's table.
func Rows(s Service) []Row {
	var out []Row
	for _, k := range keysOf(s) {
		out = append(out, Row{
			Path: k.path, Default: k.def, Kind: k.kind, Lo: k.lo, Hi: k.hi, Retired: k.retired,
			PortOf: k.portOf, WellKnown: k.wellKnown, Shared: k.shared, Choices: k.choices,
		})
	}
	return out
}

// FormatSize and FormatDuration write bounds.
var (
	FormatSize     = formatSize
	FormatDuration = formatDuration
)

// ParseFile lists the paths and lines of what a document sets.
func ParseFile(data []byte) (paths []string, lines []int, err error) {
	entries, problems := parseFile("x.toml", data)
	for _, e := range entries {
		paths = append(paths, e.path)
		lines = append(lines, e.line)
	}
	return paths, lines, problems.err()
}
