package reports_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"firetower/reports"
	"firetower/reports/schema"
	"firetower/simulator/latency"
)

// documents are the formats that this package writes, by the file of their schema
// below schema/. A new kind of document gets a line here.
var documents = map[string]schema.Document{
	"run.schema.json":     {Name: reports.Schema, Title: "Result of a load test", Value: reports.Result{}},
	"sweep.schema.json":   {Name: reports.SweepSchema, Title: "Figures over settings", Value: reports.Sweep{}},
	"tune.schema.json":    {Name: reports.TuneSchema, Title: "A search for the best setting", Value: reports.Tune{}},
	"versus.schema.json":  {Name: reports.VersusSchema, Title: "Targets side by side", Value: reports.Versus{}},
	"compare.schema.json": {Name: reports.CompareSchema, Title: "Two sets of runs", Value: reports.Comparisons{}},
}

// schemaOf is the schema as the types and comments say it now.
func schemaOf(t *testing.T, d schema.Document) []byte {
	t.Helper()
	source, err := schema.Read(".", "stats", filepath.Join("..", "simulator", "latency"))
	if err != nil {
		t.Fatal(err)
	}
	d.As = map[reflect.Type]any{reflect.TypeFor[latency.Recorder](): latency.Encoded{}}
	text, err := schema.Of(d, source)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSchemasAreUpToDate(t *testing.T) {
	t.Parallel()
	for file, d := range documents {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			want, path := schemaOf(t, d), filepath.Join("schema", file)
			if *update {
				if err := os.WriteFile(path, want, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what the types say: run with -update (%v)", path, err)
			}
		})
	}
}

// compiled is a schema, ready to validate.
func compiled(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaOf(t, documents[file])))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, document []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// Every committed document meets its schema, and has no property that the schema does
// not know.
func TestBaselinesMeetTheirSchemas(t *testing.T) {
	t.Parallel()
	run, versus := compiled(t, "run.schema.json"), compiled(t, "versus.schema.json")
	n := 0
	err := filepath.WalkDir("baselines", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		s, into := run, any(&reports.Result{})
		switch filepath.Base(path) {
		case reports.ResultFile:
		case reports.VersusFile:
			s, into = versus, &reports.Versus{}
		default:
			return nil
		}
		n++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(into); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("looked at %d documents: %v", n, err)
	}
}

func TestMadeUpResultsMeetTheSchema(t *testing.T) {
	t.Parallel()
	s := compiled(t, "run.schema.json")
	for name, r := range map[string]*reports.Result{
		"sample": sample(t),
		"rich":   rich(t, 20),
		"nothing measured": {
			Schema: reports.Schema, ID: "x", Scenario: "s", Target: "firetower", Verdict: reports.Invalid, Reasons: []string{"nothing"},
			Configuration: reports.Configuration{Plan: []byte("{}")},
		},
	} {
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schema that accepts anything would pass every test above.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t, "run.schema.json")
	text, err := rich(t, 20).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(doc map[string]any){
		"another schema":         func(d map[string]any) { d["schema"] = "firetower.run/v9" },
		"an unknown verdict":     func(d map[string]any) { d["verdict"] = "fine" },
		"no ledger":              func(d map[string]any) { delete(d, "expected") },
		"a count as text":        func(d map[string]any) { d["lost"] = "0" },
		"half a message":         func(d map[string]any) { d["received"] = 0.5 },
		"no day":                 func(d map[string]any) { d["started"] = "yesterday" },
		"an unknown check":       func(d map[string]any) { d["checks"].([]any)[0].(map[string]any)["status"] = "amber" },
		"a histogram of nothing": func(d map[string]any) { d["histograms"].(map[string]any)["delivery"] = 1.0 },
		"four descriptors":       func(d map[string]any) { d["leave"].(map[string]any)["descriptors"] = []any{1.0, 2.0, 3.0, 4.0} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var doc map[string]any
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			change(doc)
			if err := s.Validate(doc); err == nil {
				t.Error("was accepted")
			}
		})
	}
}

// People read the schema: every type and nearly every property says what it is.
func TestSchemaExplains(t *testing.T) {
	t.Parallel()
	var doc struct {
		Properties map[string]struct{ Description string }
		Defs       map[string]struct{ Description string } `json:"$defs"`
	}
	if err := json.Unmarshal(schemaOf(t, documents["run.schema.json"]), &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Properties["reach"].Description; got != "Reach is Received / Expected, null when nothing was expected." {
		t.Errorf("reach is explained as %q", got)
	}
	for name, def := range doc.Defs {
		if !strings.HasPrefix(def.Description, name+" ") {
			t.Errorf("type %s is explained as %q", name, def.Description)
		}
	}
}
