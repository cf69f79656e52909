package reports

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Kind is what a folder of reports holds, or what a document is of.
type Kind string

// The kinds. A search holds the document of its sweep as well.
const (
	KindRun    Kind = "run"
	KindVersus Kind = "comparison of targets"
	KindSweep  Kind = "sweep"
	KindTune   Kind = "search"
)

// kinds are the documents, the one that says more of a folder first.
var kinds = []struct {
	kind         Kind
	file, schema string
}{
	{KindTune, TuneFile, TuneSchema}, {KindSweep, SweepFile, SweepSchema}, {KindVersus, VersusFile, VersusSchema}, {KindRun, ResultFile, Schema},
}

// KindOf tells what a folder holds, by its documents, or what the document in a file is
// of, by its schema; "" is none of them.
func KindOf(path string) Kind {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	schema := ""
	if !info.IsDir() {
		schema = schemaOf(path)
	}
	for _, k := range kinds {
		if info.IsDir() {
			if _, err := os.Stat(filepath.Join(path, k.file)); err == nil {
				return k.kind
			}
		} else if schema == k.schema {
			return k.kind
		}
	}
	return ""
}

// schemaOf is the schema that a document names, "" when it names none.
func schemaOf(path string) string {
	data, err := load(path)
	if err != nil {
		return ""
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal(data, &head) != nil {
		return ""
	}
	return head.Schema
}

// Locate is the folder or file that path stands for: itself, or the latest run below
// it when it is a folder of runs.
func Locate(path string) string {
	if KindOf(path) != "" {
		return path
	}
	latest := filepath.Join(path, LatestLink)
	if info, err := os.Stat(latest); err != nil || !info.IsDir() {
		return path
	}
	return latest
}

// FolderOf is the folder of a document: path itself, or the one that the file lies in.
func FolderOf(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return filepath.Dir(path)
	}
	return path
}

// Document is what a run, a sweep, a search or a comparison of targets came to.
type Document interface {
	// HTML is the document as one page that needs no other file and no network.
	HTML() ([]byte, error)
	// Summary is the document for a terminal; dir is where its files lie, "" when they
	// are not to be named.
	Summary(dir string) string
}

// Open reads the document of a folder, or in a file, whatever its kind. What is none of
// the kinds is read as a run, which tells what is wrong with it.
func Open(path string) (Document, error) {
	switch KindOf(path) {
	case KindTune:
		return opened(ReadTune(path))
	case KindSweep:
		s, err := ReadSweep(path)
		if err == nil {
			s.Fill() // its figures are worked out anew from its runs
		}
		return opened(s, err)
	case KindVersus:
		return opened(ReadVersus(path))
	case KindRun:
	}
	return opened(Read(path))
}

// opened is the document, and nil with an error.
func opened[D Document](d D, err error) (Document, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}
