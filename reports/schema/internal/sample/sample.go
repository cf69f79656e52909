// Package sample is read by the tests of package schema.
package sample

import (
	"encoding/json"
	"time"
)

// Colour is a closed set.
type Colour string

const (
	Red  Colour = "red"
	Blue Colour = "blue"
)

// Untyped belongs to no set.
const Untyped = "untyped"

// Base stands within others.
type Base struct {
	ID string `json:"id"`
}

// Document is what is described.
type Document struct {
	Schema string `json:"schema"`
	Base
	// Low and High are the ends.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Maybe is null when it was not measured.
	Maybe   *int64            `json:"maybe"`
	Colour  Colour            `json:"colour"`
	Other   *Colour           `json:"other"`
	Pair    [2]uint           `json:"pair"`
	List    []Document        `json:"list"`
	Words   map[string]string `json:"words"`
	At      time.Time         `json:"at"`
	Raw     json.RawMessage   `json:"raw"`
	Young   bool              `json:"young" schema:"optional"`
	Left    bool              `json:"left,omitempty"`
	Hidden  string            `json:"-"`
	Special Special           `json:"special"`
	Any     any               `json:"any"`
}

// Special writes itself.
type Special struct{ Unsaid func() }
