package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// node is as much of JSON Schema as the documents need. Properties come out sorted, as
// encoding/json writes maps.
type node struct {
	Schema      string           `json:"$schema,omitempty"`
	ID          string           `json:"$id,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Ref         string           `json:"$ref,omitempty"`
	AnyOf       []*node          `json:"anyOf,omitempty"`
	Type        any              `json:"type,omitempty"` // a string, or strings
	Const       string           `json:"const,omitempty"`
	Enum        []string         `json:"enum,omitempty"`
	Format      string           `json:"format,omitempty"`
	Minimum     *int             `json:"minimum,omitempty"`
	MinItems    int              `json:"minItems,omitempty"`
	MaxItems    int              `json:"maxItems,omitempty"`
	Items       *node            `json:"items,omitempty"`
	Properties  map[string]*node `json:"properties,omitempty"`
	Required    []string         `json:"required,omitempty"`
	// Additional is the schema of a map's values.
	Additional *node            `json:"additionalProperties,omitempty"`
	Defs       map[string]*node `json:"$defs,omitempty"`
}

// Document is what is to be described.
type Document struct {
	// Name is the value of the document's field "schema", as "firetower.run/v1".
	Name  string
	Title string
	// Value is the document, of any content: its type matters alone.
	Value any
	// As names types that write themselves as JSON, with a value of the type that they
	// write.
	As map[reflect.Type]any
}

// Of is the schema of a document, indented. Rules:
//   - a field without omitempty is required, unless it has the tag schema:"optional",
//     which is for fields that older documents lack;
//   - what is nil in Go (pointer, slice, map) may be null;
//   - unknown properties are allowed: a field that a later version adds makes no
//     document invalid.
func Of(d Document, s *Source) ([]byte, error) {
	w := &writer{source: s, as: d.As, defs: map[string]*node{}, names: map[reflect.Type]string{}}
	t := reflect.TypeOf(d.Value)
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("schema of %s: %v is not a struct", d.Name, t)
	}
	root := w.object(t)
	if w.err != nil {
		return nil, fmt.Errorf("schema of %s: %w", d.Name, w.err)
	}
	if p := root.Properties["schema"]; p != nil {
		p.Const = d.Name
	}
	root.Schema, root.ID, root.Title = "https://json-schema.org/draft/2020-12/schema", "urn:"+strings.ReplaceAll(strings.ReplaceAll(d.Name, ".", ":"), "/", ":"), d.Title
	root.Description = s.doc(t, "")
	root.Defs = w.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", d.Name, err)
	}
	return append(out, '\n'), nil
}

type writer struct {
	source *Source
	as     map[reflect.Type]any
	defs   map[string]*node
	names  map[reflect.Type]string // of definitions
	err    error
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// of is the schema of a type where it is used.
func (w *writer) of(t reflect.Type) *node {
	if like, ok := w.as[t]; ok {
		return w.of(reflect.TypeOf(like))
	}
	switch t {
	case timeType:
		return &node{Type: "string", Format: "date-time"}
	case rawType:
		return &node{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return &node{Type: "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &node{Type: "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &node{Type: "integer", Minimum: new(int)}
	case reflect.Float32, reflect.Float64:
		return &node{Type: "number"}
	case reflect.String:
		return &node{Type: "string", Enum: w.source.enum(t)}
	case reflect.Interface:
		return &node{}
	case reflect.Pointer:
		return nullable(w.of(t.Elem()))
	case reflect.Slice:
		return &node{Type: []string{"array", "null"}, Items: w.of(t.Elem())}
	case reflect.Array:
		return &node{Type: "array", Items: w.of(t.Elem()), MinItems: t.Len(), MaxItems: t.Len()}
	case reflect.Map:
		return &node{Type: []string{"object", "null"}, Additional: w.of(t.Elem())}
	case reflect.Struct:
		name, done := w.names[t]
		if !done {
			if name = t.Name(); w.defs[name] != nil {
				name = key(t) // another package has a type of this name
			}
			w.names[t], w.defs[name] = name, &node{} // first, for a type that holds itself
			def := w.object(t)
			def.Description = w.source.doc(t, "")
			w.defs[name] = def
		}
		return &node{Ref: "#/$defs/" + name}
	default:
		if w.err == nil {
			w.err = fmt.Errorf("%v has no form in JSON", t)
		}
		return &node{}
	}
}

// nullable is a schema that null meets as well.
func nullable(n *node) *node {
	switch typ := n.Type.(type) {
	case string:
		if n.Enum == nil {
			n.Type = []string{typ, "null"}
			return n
		}
	case []string:
		return n
	}
	return &node{AnyOf: []*node{n, {Type: "null"}}}
}

// object is the schema of a struct.
func (w *writer) object(t reflect.Type) *node {
	n := &node{Type: "object", Properties: map[string]*node{}, Required: []string{}}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case f.Anonymous && name == "":
			in := w.object(f.Type)
			for k, p := range in.Properties {
				n.Properties[k] = p
			}
			n.Required = append(n.Required, in.Required...)
			continue
		case name == "":
			name = f.Name
		}
		p := w.of(f.Type)
		p.Description = w.source.doc(t, f.Name)
		n.Properties[name] = p
		if !strings.Contains(options, "omitempty") && f.Tag.Get("schema") != "optional" {
			n.Required = append(n.Required, name)
		}
	}
	return n
}
