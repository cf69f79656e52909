package scenarios_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"firetower/scenarios"
)

const schemaFile = "scenario.schema.json"

func TestSchemaIsUpToDate(t *testing.T) {
	t.Parallel()
	want := scenarios.JSONSchema()
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the keys say: run 'make generate'", schemaFile)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(scenarios.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is a TOML file as a schema sees it.
func document(t *testing.T, data []byte) any {
	t.Helper()
	var doc map[string]any
	if err := toml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return plain(doc)
}

// plain makes of TOML's values those of JSON, as the validator knows them.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

func TestCatalogueMeetsTheSchema(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t)
	files, err := filepath.Glob(filepath.Join("catalogue", "*.toml"))
	if err != nil || len(files) != len(scenarios.Names()) {
		t.Fatalf("%d files of %d scenarios (%v)", len(files), len(scenarios.Names()), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "#:schema ../"+schemaFile+"\n") {
			t.Errorf("%s does not name its schema in the first line, where editors look for it", file)
		}
		if err := s.Validate(document(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		full, err := scenarios.Decode(file, data)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if err := s.Validate(document(t, []byte(full.Encode()))); err != nil {
			t.Errorf("%s as it is printed: %v", file, err)
		}
	}
}

// What the schema can tell, it tells as Decode does.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t)
	if err := s.Validate(document(t, []byte(minimal))); err != nil {
		t.Fatalf("refuses the smallest scenario: %v", err)
	}
	tests := []struct{ name, toml, where string }{
		{"an unknown key", "conections = 3", "conections"},
		{"an unknown key in a table", "[load]\nrat = \"5/s\"", "rat"},
		{"an unknown key of an entry", "[[fault]]\nkind = \"disconnect\"\nwhen = \"3s\"", "when"},
		{"an entry without its kind", "[[fault]]\nat = \"3s\"", "kind"},
		{"a word of no set", "[load]\nmode = \"opne\"", "/load/mode"},
		{"a duration without its unit", "[phases]\nmeasure = \"30\"", "/phases/measure"},
		{"a duration with another unit", "[phases]\nmeasure = \"30 sec\"", "/phases/measure"},
		{"a rate without its time", "[load]\nrate = \"5\"", "/load/rate"},
		{"a size without its unit", "[load]\npayload = \"128\"", "/load/payload"},
		{"a share of nothing", "[reconnect]\nmode = \"always\"\njitter = \"half\"", "/reconnect/jitter"},
		{"a mix without weights", "[load]\nmix = [\"1KiB\"]", "/load/mix/0"},
		{"a threshold without a limit", "thresholds = [\"lost==\"]", "/thresholds/0"},
		{"a number that is too large", "[topology]\ngateways = 65", "/topology/gateways"},
		{"a number that is too small", "[topics]\ncount = 0", "/topics/count"},
		{"a number for text", "[load]\nrate = 5", "/load/rate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := minimal + tt.toml
			err := s.Validate(document(t, []byte(text)))
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), tt.where) {
				t.Errorf("the error lacks %q: %v", tt.where, err)
			}
			if _, err := scenarios.Decode("f.toml", []byte(text)); err == nil {
				t.Error("Decode accepts what the schema refuses")
			}
		})
	}
}
