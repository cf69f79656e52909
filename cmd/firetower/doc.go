// Command firetower is the one binary of the project: the services, the tools
// that talk to them, and the load harness.
//
// It owns how people meet Firetower: arguments, exit codes, hints, and the
// mapping from a configuration to the options of the packages that do the
// work. It has a file per subcommand and no logic that another package could
// hold. Whatever a command takes from its process (arguments, environment,
// standard streams, clock, signals) comes to it in one globalState, made in
// main, so that a test runs any command in its own process, beside others.
package main
