// Package loadtest owns one experiment: it takes a scenario to a result.
//
// A run starts the system under test and the workers as child processes of the
// same binary, so that each has its own descriptors, memory, CPU account and
// crash; ramps the clients; proves by a probe that every client of every topic is
// reached; reads the servers' memory; warms up; publishes by a plan that waits for
// nothing; drains; balances a ledger of every expected delivery; and says what it
// found, and whether its own figures can be believed.
//
//	plan.go       what the scenario needs of this machine, and whether it has it
//	child.go      child processes: started so that they die with us, stopped by pid
//	target.go     the system under test as processes; affinity.go, the CPUs that these get
//	worker.go     the process that holds clients; workers.go is our side of it
//	publisher.go  the plan of messages and its account; sizes.go, how long they are; sink_*.go, where they go
//	sampler.go    CPU, memory and descriptors of every process
//	run.go        one run from start to teardown; phases.go is its parts, in order
//	warmup.go     the warm-up goes on until latency has come to rest; hiccup.go, a thread that tells how late it wakes
//	fault.go      what is done to the servers meanwhile; relay.go cuts a gateway off
//	capacity.go   the search for the highest rate
//	leave.go      what servers still hold once all clients have gone
//	ledger.go     the account
//	aftermath.go  what a fault cost, and which losses it explains
//	checks.go     the self-check and its verdict
//	outcome.go    the result document; series.go is its columns over time
//	calibrate.go  the workers against a server that only writes
//	scrape.go     what servers publish; series_servers.go, over time
//	budget.go     where the time of a delivery went, by the servers' own stages
//	heatmap.go    deliveries by time and latency
//	versus.go     several targets in turn on the same work; build.go, other builds of ours
//
// It must not know what a server does inside: it sees sockets, /proc and the
// counters that a server publishes. It imports no manager and no gateway.
package loadtest
