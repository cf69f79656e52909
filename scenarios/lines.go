package scenarios

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Line is the line of a key of a scenario file, by its whole name as it is written there
// ("gateway.bucket.Num"), or of the nearest table around it; 0 when the file has neither.
func Line(file []byte, key string) int { return nearest(lineIndex(file), key) }

// nearest is the line of a key, or of the nearest table around it.
func nearest(lines map[string]int, key string) int {
	for at := key; ; {
		if n, ok := lines[at]; ok {
			return n
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			return 0
		}
		at = at[:cut]
	}
}

// lineIndex maps the whole name of every key and table of a TOML document to its
// line, with entries of arrays of tables named as "fault[0]".
func lineIndex(data []byte) map[string]int {
	index := map[string]int{}
	entries := map[string]int{} // array of tables -> entries so far
	var p unstable.Parser
	p.Reset(data)
	prefix := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			name, line := joined(&p, e)
			index[name] = line
			prefix = name + "."
		case unstable.ArrayTable:
			name, line := joined(&p, e)
			at := fmt.Sprintf("%s[%d]", name, entries[name])
			entries[name]++
			index[at] = line
			if _, ok := index[name]; !ok {
				index[name] = line
			}
			prefix = at + "."
		case unstable.KeyValue:
			indexValue(&p, e, prefix, index)
		}
	}
	return index
}

// indexValue notes a key and, below it, those of its inline tables.
func indexValue(p *unstable.Parser, kv *unstable.Node, prefix string, index map[string]int) {
	name, line := joined(p, kv)
	index[prefix+name] = line
	v := kv.Value()
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				indexValue(p, it.Node(), prefix+name+".", index)
			}
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			if it.Node().Kind != unstable.InlineTable {
				continue
			}
			at := fmt.Sprintf("%s%s[%d]", prefix, name, i)
			index[at] = line
			for kvs := it.Node().Children(); kvs.Next(); {
				indexValue(p, kvs.Node(), at+".", index)
			}
		}
	}
}

// joined is the dotted key of an expression and its line.
func joined(p *unstable.Parser, e *unstable.Node) (name string, line int) {
	for it := e.Key(); it.Next(); {
		k := it.Node()
		if name != "" {
			name += "."
		}
		name += string(k.Data)
		if line == 0 {
			line = p.Shape(k.Raw).Start.Line
		}
	}
	return name, line
}
