package scenarios

import (
	"encoding/json"
	"strings"
)

// SchemaID names the JSON Schema of the format.
const SchemaID = "firetower.scenario/v1"

// schema is as much of JSON Schema (draft 7, which TOML editors know) as the format
// needs. Its properties come out sorted, as encoding/json writes maps.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	Maximum     *int               `json:"maximum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Examples    []string           `json:"examples,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	// Additional is false for the tables whose keys are all known.
	Additional *bool `json:"additionalProperties,omitempty"`
}

// The text of each unit. Go's durations are sums of parts: "1m30s".
const (
	patternDuration  = `^\+?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)$`
	patternRate      = `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*/[smh]$`
	patternSize      = `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(GiB|MiB|KiB|GB|MB|KB|kB|B)$`
	patternShare     = `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%?$`
	patternMix       = `^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(GiB|MiB|KiB|GB|MB|KB|kB|B)\s*:\s*[0-9]+\s*$`
	patternThreshold = `^\s*[a-z0-9_.\s]+(<=|>=|==|!=|<|>)\s*[^<>=!]+$`
)

// JSONSchema is the schema of a scenario file, for editors that complete and check
// while one types. It knows each key by itself; what keys say of each other, Decode
// alone knows.
func JSONSchema() []byte {
	def, slow, fault := Default(), defaultSlow(), defaultFault()
	root := table(scenarioKeys, &def)
	root.Schema, root.ID = "http://json-schema.org/draft-07/schema#", SchemaID
	root.Title, root.Description = "Firetower scenario", "One question of a load test: what is connected, what is published, what is done to the servers, what must hold."
	root.Properties["slow"] = &schema{Type: "array", Description: "clients that misbehave by plan; they are accounted for apart", Items: table(slowKeys, &slow)}
	root.Properties["fault"] = &schema{Type: "array", Description: "what is done to the servers during the measured phase", Items: table(faultKeys, &fault)}
	for _, name := range freeTables {
		root.Properties[name] = &schema{Type: "object", Description: "keys of the " + name + "'s own configuration, laid over its defaults"}
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("scenarios: the schema cannot be written: " + err.Error())
	}
	return append(out, '\n')
}

// table is the schema of a table with all of its keys, those of tables in it included.
func table[T any](keys []key[T], def *T) *schema {
	no := false
	root := &schema{Type: "object", Properties: map[string]*schema{}, Additional: &no}
	for _, k := range keys {
		at := root
		name := k.name
		if t, rest, ok := strings.Cut(k.name, "."); ok {
			if root.Properties[t] == nil {
				root.Properties[t] = &schema{Type: "object", Properties: map[string]*schema{}, Additional: &no}
			}
			at, name = root.Properties[t], rest
		}
		at.Properties[name] = k.schema(def)
		if k.needed {
			at.Required = append(at.Required, name)
		}
	}
	return root
}

// schema is that of one key.
func (k key[T]) schema(def *T) *schema {
	value := k.at(def)
	s := &schema{Type: "string", Description: k.doc, Enum: k.choices, Default: strings.Trim(format(value), `"`)}
	switch kindOf(value) {
	case "integer":
		s.Type, s.Default = "integer", value
		zero := 0
		s.Minimum = &zero
		if k.limits != nil {
			if n, ok := k.limits.low.(int); ok {
				s.Minimum = &n
			}
			if n, ok := k.limits.high.(int); ok {
				s.Maximum = &n
			}
		}
	case "boolean":
		s.Type, s.Default = "boolean", value
	case "duration":
		s.Pattern, s.Examples = patternDuration, []string{"30s", "250ms", "1m30s"}
	case "rate":
		s.Pattern, s.Examples = patternRate, []string{"5/s", "300/m"}
	case "size":
		s.Pattern, s.Examples = patternSize, []string{"128B", "4KiB", "1MiB"}
	case "share":
		s.Pattern, s.Examples = patternShare, []string{"20%", "0.2"}
	case "mix":
		s.Type, s.Default = "array", nil
		s.Items = &schema{Type: "string", Pattern: patternMix, Examples: []string{"128B:80", "1KiB:20"}}
	case "thresholds":
		s.Type, s.Default = "array", nil
		s.Items = &schema{Type: "string", Pattern: patternThreshold, Examples: []string{"lost==0", "delivery.p99<250ms"}}
	}
	if k.form != nil {
		s.Pattern = k.form.String()
	}
	if k.needed {
		s.Default = nil
	}
	if k.limits != nil && s.Type == "string" {
		s.Description += "; " + k.limits.String()
	}
	if k.when != nil {
		s.Description += "; for " + k.when.text
	}
	return s
}
