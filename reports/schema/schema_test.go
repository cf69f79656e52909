package schema_test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"firetower/reports/schema"
	"firetower/reports/schema/internal/sample"
)

func source(t *testing.T) *schema.Source {
	t.Helper()
	s, err := schema.Read(filepath.Join("internal", "sample"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOf(t *testing.T) {
	t.Parallel()
	text, err := schema.Of(schema.Document{
		Name: "firetower.sample/v1", Title: "A sample", Value: sample.Document{},
		As: map[reflect.Type]any{reflect.TypeFor[sample.Special](): ""},
	}, source(t))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID         string   `json:"$id"`
		Required   []string `json:"required"`
		Properties map[string]json.RawMessage
		Defs       map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "urn:firetower:sample:v1" {
		t.Errorf("$id is %q", got.ID)
	}
	if want := []string{"schema", "id", "low", "high", "maybe", "colour", "other", "pair", "list", "words", "at", "raw", "special", "any"}; !slices.Equal(got.Required, want) {
		t.Errorf("required are %v, want %v", got.Required, want)
	}
	for name, want := range map[string]string{
		"schema":  `{"type":"string","const":"firetower.sample/v1"}`,
		"id":      `{"type":"string"}`,
		"low":     `{"description":"Low and High are the ends.","type":"number"}`,
		"high":    `{"description":"Low and High are the ends.","type":"number"}`,
		"maybe":   `{"description":"Maybe is null when it was not measured.","type":["integer","null"]}`,
		"colour":  `{"type":"string","enum":["red","blue"]}`,
		"other":   `{"anyOf":[{"type":"string","enum":["red","blue"]},{"type":"null"}]}`,
		"pair":    `{"type":"array","minItems":2,"maxItems":2,"items":{"type":"integer","minimum":0}}`,
		"list":    `{"type":["array","null"],"items":{"$ref":"#/$defs/Document"}}`,
		"words":   `{"type":["object","null"],"additionalProperties":{"type":"string"}}`,
		"at":      `{"type":"string","format":"date-time"}`,
		"raw":     `{}`,
		"young":   `{"type":"boolean"}`,
		"left":    `{"type":"boolean"}`,
		"special": `{"type":"string"}`,
		"any":     `{}`,
	} {
		var compact strings.Builder
		enc := json.NewEncoder(&compact)
		if err := enc.Encode(got.Properties[name]); err != nil || strings.TrimSpace(compact.String()) != want {
			t.Errorf("%s is %s, want %s (%v)", name, compact.String(), want, err)
		}
	}
	if _, there := got.Properties["Hidden"]; there || len(got.Properties) != 16 {
		t.Errorf("%d properties, Hidden: %v", len(got.Properties), there)
	}
	if len(got.Defs) != 1 {
		t.Errorf("definitions are %v", got.Defs)
	}
}

func TestOfRefuses(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{"nothing": nil, "a number": 1, "a function": sample.Special{}} {
		if _, err := schema.Of(schema.Document{Name: "x", Value: value}, source(t)); err == nil {
			t.Errorf("%s has a schema", name)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	if _, err := schema.Read("nowhere"); err == nil {
		t.Error("a folder that is not there was read")
	}
}
