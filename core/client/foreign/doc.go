// Package foreign drives WebSocket clients that we did not write, Node's ws and Chromium, against a
// `firetower serve` process; `make test-clients` runs it. It owns the checks that they make
// (checks.mjs, one text for both) and knows Firetower by its command line and sockets only.
package foreign
