// Package reports owns the answers: the result document of a load test and its
// schema, the folder that a run leaves behind, and what is made from a result for
// people (text, histogram log, HTML page, comparison).
//
// It must not know how a result came about: it imports nothing of the harness but
// simulator/latency, opens no socket and starts no process. Everything that it
// prints is in the document, so that a report can be made again from result.json
// alone, on another machine, years later.
package reports
