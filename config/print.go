package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Setting is one key with its value and where that came from.
type Setting struct {
	Key string `json:"key"`
	// Value is as a flag would give it; of a secret it only tells that it is set.
	Value string `json:"value"`
	// Origin is where the value came from.
	Origin Origin `json:"origin"`
	// PortOrigin is where the port of an address came from, when not with the host.
	PortOrigin *Origin `json:"port_origin,omitempty"`
	// Secret tells that Value is not the value.
	Secret bool `json:"secret,omitempty"`

	toml string
}

// resolved is what a loaded configuration knows of its making.
type resolved struct {
	settings []Setting
	notices  []string
}

// Settings lists every key with its value and origin, in the order of the
// example file.
func (r resolved) Settings() []Setting { return append([]Setting(nil), r.settings...) }

// Notices are what a source says without effect, and why: for the log.
func (r resolved) Notices() []string { return append([]string(nil), r.notices...) }

// notShown stands for a secret that is set.
const notShown = "(set, not shown)"

func (l *loader) resolved() resolved {
	r := resolved{notices: l.notices}
	for _, k := range l.keys {
		if k.retired != "" || k.kind == KindPort {
			continue
		}
		s := Setting{Key: k.path, Value: k.text(), Origin: k.origin, PortOrigin: k.portOrigin, toml: k.tomlText()}
		if k.kind == KindSecret && s.Value != "" {
			s.Value, s.toml, s.Secret = notShown, quoteTOML(notShown), true
		}
		r.settings = append(r.settings, s)
	}
	return r
}

// WriteTOML writes settings as a file that loads to the same values, with the
// origin of each as a comment; a secret is a comment as a whole.
func WriteTOML(w io.Writer, settings []Setting) error {
	var b bytes.Buffer
	lines := make([]string, len(settings))
	width := 0
	for i, s := range settings {
		_, name := (&key{path: s.Key}).split()
		lines[i] = name + " = " + s.toml
		if s.Secret {
			lines[i] = "# " + lines[i]
		}
		width = max(width, len(lines[i]))
	}
	width = min(width, 48)
	at := ""
	for i, s := range settings {
		if table := (&key{path: s.Key}).table(); table != at {
			fmt.Fprintf(&b, "\n[%s]\n", table)
			at = table
		}
		origin := s.Origin.String()
		if s.PortOrigin != nil {
			origin += ", port " + s.PortOrigin.String()
		}
		fmt.Fprintf(&b, "%-*s  # %s\n", width, lines[i], origin)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteExample writes the example file of a service: every key with what it
// does, its bounds, its flag and its variable. Keys that older files have are
// set to their defaults; the others are comments that show them, so that the
// file of an operator holds what was decided there and nothing more.
func WriteExample(w io.Writer, s Service) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# %s configures the %s: firetower %s --config %s
#
# A line that begins with "#" and no space is a setting at its default: take the
# "#" away to change it. Environment variables win over this file, and flags
# over both. Case does not count in names. Durations need a unit ("30s"), sizes
# may have one ("64KiB"). See what is in force, and where each value comes from:
# firetower config print %s --config %s
`, s.ExampleFile(), s, s, s.ExampleFile(), s, s.ExampleFile())
	at := ""
	for _, k := range keysOf(s) {
		if k.retired != "" {
			continue
		}
		table, name := k.split()
		if table != at {
			fmt.Fprintf(&b, "\n[%s]\n", table)
			at = table
		}
		b.WriteByte('\n')
		for _, line := range wrap(k.doc, 96) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		if s := k.span(); s != "" {
			fmt.Fprintf(&b, "# Values: %s.\n", s)
		}
		from := envName(k.path)
		if k.flag != "" {
			from = "--" + k.flag + ", " + from
		}
		fmt.Fprintf(&b, "# %s\n", from)
		if !k.wellKnown {
			b.WriteByte('#')
		}
		fmt.Fprintf(&b, "%s = %s\n", name, k.defaultTOML())
	}
	_, err := w.Write(b.Bytes())
	return err
}

// defaultTOML is the default as a file would give it.
func (k *key) defaultTOML() string {
	switch k.kind {
	case KindInt, KindBool, KindPort:
		return k.def
	case KindList:
		return "[]"
	default:
		return quoteTOML(k.def)
	}
}

// wrap breaks text into lines of at most width bytes, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
