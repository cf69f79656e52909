package config

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Kind is the shape of a value.
type Kind string

// The kinds, with what each is written like.
const (
	KindInt      Kind = "integer"            // 4
	KindBool     Kind = "boolean"            // true
	KindText     Kind = "text"               // "/ws"
	KindDuration Kind = "duration"           // "25s"
	KindSize     Kind = "size"               // "64KiB"; a bare integer counts bytes
	KindChoice   Kind = "choice"             // "disconnect"
	KindList     Kind = "list"               // ["https://example.org"]
	KindListen   Kind = "listening address"  // "127.0.0.1:9999"; port 0 takes a free one
	KindDial     Kind = "address to connect" // "127.0.0.1:6666"
	KindPort     Kind = "port"               // 6666
	KindFile     Kind = "file name"          // "/run/secrets/firetower"
	KindSecret   Kind = "secret"             // never printed
)

// key is one row of a service's table.
type key struct {
	// path is the canonical spelling, tables and key joined by dots. Files may
	// write it in any case.
	path string
	kind Kind
	// def is the default, as a flag would give it; of a KindPort, the port of the
	// address's default.
	def string
	// to is where the value goes: *int, *bool, *string, *time.Duration,
	// *[]string or *Address, as the kind asks.
	to any
	// flag is the name of the key's own flag; without one it is set by --set.
	flag string
	// doc says what the key does, in full sentences.
	doc string
	// lo and hi bound integers, sizes (bytes) and durations (nanoseconds).
	lo, hi int64
	// choices are the values of a KindChoice.
	choices []string
	// check refuses values that have the right shape and cannot work.
	check func(value any) error

	// wellKnown marks a key that files of older deployments have; the example
	// shows it as a setting and the others as comments.
	wellKnown bool
	// bareSeconds lets a duration be an integer without unit, as older files
	// write it.
	bareSeconds bool
	// optional lets an address be empty, which turns what it is for off.
	optional bool
	// shared marks a key that means the same to both services: in a process that
	// runs both, one setting serves both.
	shared bool
	// unusedInServe marks what a process that runs both services knows better.
	unusedInServe bool
	// portOf is the path of the address that a KindPort is a part of.
	portOf string
	// retired says why a key of older files has no effect any more; its value is
	// not looked at.
	retired string

	origin     Origin
	portOrigin *Origin // of the port of an address, where it has its own
}

// table is the TOML table that the key stands in, "" for the top level.
func (k *key) table() string {
	table, _ := k.split()
	return table
}

// split separates the table from the name within it.
func (k *key) split() (table, name string) {
	if i := strings.LastIndexByte(k.path, '.'); i >= 0 {
		return k.path[:i], k.path[i+1:]
	}
	return "", k.path
}

// hasPortKey tells whether keys has a KindPort that is a part of k.
func (k *key) hasPortKey(keys []*key) bool {
	for _, other := range keys {
		if other.portOf == k.path {
			return true
		}
	}
	return false
}

// span describes the bounds for people, "" when there are none.
func (k *key) span() string {
	switch k.kind {
	case KindInt, KindPort:
		return "from " + strconv.FormatInt(k.lo, 10) + " to " + strconv.FormatInt(k.hi, 10)
	case KindSize:
		return "from " + formatSize(k.lo) + " to " + formatSize(k.hi)
	case KindDuration:
		return "from " + formatDuration(time.Duration(k.lo)) + " to " + formatDuration(time.Duration(k.hi))
	case KindChoice:
		return enumerate(k.choices)
	default:
		return ""
	}
}

// enumerate writes "a, b or c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "FIRETOWER_"

// envName is the variable that a dotted name stands for: bucket.BuffChanCount
// is FIRETOWER_BUCKET_BUFF_CHAN_COUNT.
func envName(name string) string {
	var b strings.Builder
	b.WriteString(EnvPrefix)
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case r == '.':
			b.WriteByte('_')
			continue
		case i > 0 && runes[i-1] != '.' && unicode.IsUpper(r) &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// Key describes a key, for flags and help.
type Key struct {
	Service Service `json:"service"`
	// Path is the name in a file and for --set.
	Path string `json:"key"`
	Kind Kind   `json:"kind"`
	// Default is as a flag would give it.
	Default string `json:"default"`
	// Values describes what is allowed, "" when the kind says it all.
	Values string `json:"values,omitempty"`
	// Flag is the key's own flag without dashes, "" when it has none.
	Flag string `json:"flag,omitempty"`
	// Env is the environment variable.
	Env string `json:"env"`
	Doc string `json:"doc"`
	// UnusedInServe tells that a process running both services does not use it.
	UnusedInServe bool `json:"unused_in_serve,omitempty"`
}

// Keys lists the keys of a service in the order of its example file.
func Keys(s Service) []Key {
	var out []Key
	for _, k := range keysOf(s) {
		if k.retired != "" {
			continue
		}
		out = append(out, Key{
			Service: s, Path: k.path, Kind: k.kind, Default: k.def, Values: k.span(),
			Flag: k.flag, Env: envName(k.path), Doc: k.doc, UnusedInServe: k.unusedInServe,
		})
	}
	return out
}
