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
	kinds := map[string]struct {
		schema *jsonschema.Schema
		into   func() any
	}{
		reports.ResultFile:  {compiled(t, "run.schema.json"), func() any { return &reports.Result{} }},
		reports.VersusFile:  {compiled(t, "versus.schema.json"), func() any { return &reports.Versus{} }},
		reports.SweepFile:   {compiled(t, "sweep.schema.json"), func() any { return &reports.Sweep{} }},
		reports.TuneFile:    {compiled(t, "tune.schema.json"), func() any { return &reports.Tune{} }},
		reports.CompareFile: {compiled(t, "compare.schema.json"), func() any { return &reports.Comparisons{} }},
	}
	n := 0
	err := filepath.WalkDir("baselines", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		kind, known := kinds[filepath.Base(path)]
		if !known {
			return nil
		}
		n++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := validate(t, kind.schema, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(kind.into()); err != nil {
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

// Documents of many runs meet their schemas, and lose nothing when they are read again:
// those with all there is, and those of a beginning that has no figures yet.
func TestMadeUpDocumentsMeetTheirSchemas(t *testing.T) {
	t.Parallel()
	whole, begun := planted("grid", 3, 0.04, fewConsumers), planted("grid", 3, 0.04, nothing)
	begun.Runs, begun.Complete = nil, false
	begun.Fill()
	c, _ := compared(t, turns(t, "firetower@/old", 8, 1, 1), turns(t, "firetower", 8, 1.15, 2), false)
	few, _ := compared(t, setOf(t, "a", 4, 5), setOf(t, "b", 4), false)
	_, versus := versusOf(t, 8, turns(t, "firetower", 8, 1.15, 2), turns(t, "floor", 8, 0.5, 4))
	tuned := &reports.Tune{
		Schema: reports.TuneSchema, ID: "x", Objective: whole.Objectives[0], Constraints: []reports.TuneConstraint{{Text: "delivery.p99<50ms", Metric: "delivery.p99"}},
		Budget: 600, Space: 18, Tried: 18, Verdict: reports.TuneImproved, Recommended: 1, Best: 1, Tie: []int{1}, Findings: []string{"Take it."},
		Candidates: []reports.TuneCandidate{{Cell: 1, Held: []int{3}, Keeps: true, Changed: 2, Steps: 7, Resources: 6.6}, {Cell: 0, Held: []int{3}, Keeps: true}},
		Gateway:    "[bucket]\nNum = 1\n", Search: whole,
	}
	for _, tt := range []struct {
		name, file string
		document   any
		again      any
	}{
		{"sweep", "sweep.schema.json", whole, &reports.Sweep{}},
		{"a sweep that has just begun", "sweep.schema.json", begun, &reports.Sweep{}},
		{"search", "tune.schema.json", tuned, &reports.Tune{}},
		{"a search without an answer", "tune.schema.json", &reports.Tune{Schema: reports.TuneSchema, Verdict: reports.TuneUnconfirmed, Recommended: -1, Best: -1, Search: begun}, &reports.Tune{}},
		{"comparison", "compare.schema.json", reports.NewComparisons(c), &reports.Comparisons{}},
		{"a comparison of few runs", "compare.schema.json", reports.NewComparisons(few), &reports.Comparisons{}},
		{"targets side by side", "versus.schema.json", versus, &reports.Versus{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(tt.document)
			if err != nil {
				t.Fatal(err)
			}
			s := compiled(t, tt.file)
			if err := validate(t, s, text); err != nil {
				t.Error(err)
			}
			if err := json.Unmarshal(text, tt.again); err != nil {
				t.Error(err)
			} else if again, err := json.Marshal(tt.again); err != nil || !bytes.Equal(again, text) {
				t.Errorf("was\n%s\nand is\n%s\n%v", text, again, err)
			}
			var doc map[string]any
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			doc["schema"] = reports.Schema
			if err := s.Validate(doc); err == nil {
				t.Error("a document of another kind was accepted")
			}
		})
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
