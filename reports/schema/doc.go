// Package schema writes JSON Schema (draft 2020-12) of the documents that reports
// keep, from their Go types and the doc comments of these: the definition stands once,
// where the code is.
//
// It is used by tests, which write the files *.schema.json beside it and check that
// they are up to date. It knows no document: what it is given, it describes.
package schema
