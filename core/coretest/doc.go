// Package coretest boots a manager and gateways on 127.0.0.1:0 for tests and breaks them: it stops,
// kills and restarts the manager, cuts links and black-holes them.
//
// Every gateway reaches its manager through a Proxy, which keeps its address while managers come
// and go behind it. The manager runs in the test's process or, to be killed for real, in a child
// process (see RunChild). The package knows the servers' options and the client frames; it knows
// nothing of configuration files and of the load harness.
package coretest
