package config

import "strconv"

// OriginKind is the kind of source that a value came from; a later one in this
// list wins over the earlier ones.
type OriginKind string

// The sources.
const (
	FromDefault     OriginKind = "default"
	FromFile        OriginKind = "file"
	FromEnvironment OriginKind = "environment"
	FromFlag        OriginKind = "flag"
)

// rank orders sources: the higher wins.
func (k OriginKind) rank() int {
	switch k {
	case FromFile:
		return 1
	case FromEnvironment:
		return 2
	case FromFlag:
		return 3
	default:
		return 0
	}
}

// Origin is where a value came from.
type Origin struct {
	Kind OriginKind `json:"kind"`
	// Name is the file, the variable or the flag.
	Name string `json:"name,omitempty"`
	// Line is the line in the file, counted from 1.
	Line int `json:"line,omitempty"`
}

// String is "default", "file fireTower.toml:12", "environment FIRETOWER_X" or
// "flag --listen".
func (o Origin) String() string {
	if o.Kind == FromDefault {
		return string(FromDefault)
	}
	return string(o.Kind) + " " + o.place()
}

// place is the origin without its kind: what stands before a problem.
func (o Origin) place() string {
	if o.Line > 0 {
		return o.Name + ":" + strconv.Itoa(o.Line)
	}
	return o.Name
}
