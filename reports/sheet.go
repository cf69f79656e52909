package reports

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// page is parsed once; a template is safe for concurrent use.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"svg": func(p plot) template.HTML {
		// canvas escapes every text that it writes.
		return template.HTML(p.SVG) // see above
	},
	"word": wordClass,
	"long": func(cell string) bool { return len(cell) > 20 },
	"mark": func(t table, i int) bool { return t.Words == i+1 },
}).Parse(pageText))

// sheet is a report as one page that needs no other file and no network: styles,
// drawings, the script and the document itself, as JSON, stand in it.
type sheet struct {
	Title   string // of the window
	Verdict string // the word of the badge, empty for none
	Name    string // the headline, and what follows it in a quieter tone
	On      string
	Purpose string
	Lines   []string // below the headline
	Reasons []string // in a box: what a reader must know first
	Tiles   []tile
	// Sections follow each other; one without blocks is left out.
	Sections []section
	Footer   string
	// Document is what the page was made from.
	Document any
}

// section is a chapter of a page.
type section struct {
	Title  string
	Blocks []block
}

// block is one thing in a section; what is empty is left out, the rest stands in the
// order of the fields.
type block struct {
	Heading string
	Text    []string
	Plot    *plot
	Table   *table
	Facts   []fact
	Checks  []Check
	// Fold is the line that opens Pre.
	Fold string
	Pre  string
	// Columns stand side by side where there is room.
	Columns []block
}

// tile is one key figure.
type tile struct{ Name, Value, Unit, Note string }

// fact is a line of a two-column list.
type fact struct{ Name, Value string }

// plot is a chart with its legend and its table, as the page shows it.
type plot struct {
	Title   string
	Caption string
	SVG     string
	Legend  []legend
	Table   table
	// Cursor names the charts that share a cursor, empty for none. The cursor reads the
	// table: its first column is x, or X of its row.
	Cursor string
	// X0 to X1 is the span of the horizontal axis, for the cursor; Log says that it is
	// logarithmic.
	X0, X1 float64
	Log    bool
	// Ramp are the classes of a heat map's shades with their meaning at both ends.
	Ramp *ramp
}

type legend struct{ Class, Name string }

type ramp struct{ From, To string }

// Shades are the classes of a ramp.
func (ramp) Shades() []string {
	out := make([]string, heatLevels)
	for i := range out {
		out[i] = fmt.Sprintf("h%d", i+1)
	}
	return out
}

// table is the numbers of a chart, for screen readers, for copying and for diffing.
type table struct {
	Head []string
	Rows [][]string
	// X are the rows' places on the axis, when the first column does not say so.
	X []float64
	// Words is the number of the column, from 1, that holds a verdict; it is coloured.
	Words int
	// Text says that the cells are text and not numbers.
	Text bool
}

// wordClass is the class of a verdict: ok, bad, warn or quiet.
func wordClass(word string) string {
	switch word {
	case "valid", "ok", "held", "improved", "better", "same", "yes", "sustained":
		return "ok"
	case "invalid", "failed", "regressed", "worse", "no", "not sustained":
		return "bad"
	case "degraded", "note", "inconclusive":
		return "warn"
	default:
		return "quiet"
	}
}

// html renders the page.
func (s sheet) html() ([]byte, error) {
	// Marshal writes <, > and & as escapes, so that no text of a run can end the
	// script element that the document stands in.
	doc, err := json.Marshal(s.Document)
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	hash := sha256.Sum256([]byte(pageScript))
	var b bytes.Buffer
	err = page.Execute(&b, struct {
		sheet
		Style  template.CSS
		Script template.JS
		Hash   string
		JSON   template.JS
	}{
		// Style and script are our own files, the document is escaped by Marshal. The
		// page's policy allows this one script by its hash.
		s, template.CSS(pageStyle), template.JS(pageScript), base64.StdEncoding.EncodeToString(hash[:]), template.JS(doc),
	})
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}
