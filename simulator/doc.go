// Package simulator is a fleet of WebSocket clients: it connects, subscribes, receives, and says what reached whom and
// when. It owns the client's side of the sockets and the ledger of deliveries. It is a black-box client: it knows the
// wire (RFC 6455, the two subprotocols of the server and the stamp in a test message), sees sockets only, and imports
// nothing of the server that it tests, nothing of the harness that drives it, and no client library of this project.
package simulator
