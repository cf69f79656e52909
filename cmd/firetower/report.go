package main

import "github.com/spf13/cobra"

// newReportCommand is `firetower report`.
func newReportCommand(*globalState) *cobra.Command {
	return parent(&cobra.Command{Use: "report", Short: "Show and compare results of load tests"})
}
