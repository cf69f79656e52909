package main

import "github.com/spf13/cobra"

// newLoadtestCommand is `firetower loadtest`.
func newLoadtestCommand(*globalState) *cobra.Command {
	return parent(&cobra.Command{Use: "loadtest", Short: "Run load tests"})
}
