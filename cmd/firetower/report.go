package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"firetower/reports"
)

// newReportCommand is `firetower report`.
func newReportCommand(g *globalState) *cobra.Command {
	return parent(
		&cobra.Command{Use: "report", Short: "Show, compare and export results of load tests"},
		newReportShowCommand(g),
		newReportCompareCommand(g),
		newReportExportCommand(g),
		newReportHTMLCommand(g),
		newReportValidateCommand(g),
	)
}

// latestRun is what report show shows when nothing is named.
var latestRun = filepath.Join("reports", "runs", reports.LatestLink)

func newReportShowCommand(g *globalState) *cobra.Command {
	asJSON, render := false, ""
	cmd := &cobra.Command{
		Use:   "show [FOLDER | DOCUMENT]",
		Short: "Print the summary of a run, of the latest one when none is named",
		Long: `Print the summary of a run, a sweep, a search or a comparison of targets: of its
folder, of its document (result.json, sweep.json, tune.json, vs.json), or of the
latest one in a folder of runs. Without an argument it is the latest below
reports/runs.`,
		Args: maxArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := latestRun
			if len(args) == 1 {
				path = args[0]
			}
			path = reports.Locate(path)
			d, err := reports.Open(path)
			if err != nil {
				return readError(err)
			}
			if render != "" {
				if err := writePage(d, render); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(g.stdout, d)
			}
			dir := ""
			if reports.FolderOf(path) == path {
				dir = path
			}
			_, err = fmt.Fprint(g.stdout, d.Summary(dir))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the document")
	cmd.Flags().StringVar(&render, "html", "", "also write the page, made anew from the document, to `FILE`")
	return cmd
}

// writePage makes the page of a document anew.
func writePage(d reports.Document, file string) error {
	page, err := d.HTML()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(file), page, 0o644) //nolint:gosec // a report is for everyone to read
}

// readError says what to do about a result that cannot be read.
func readError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(&usageError{err}, "Name a run's folder below reports/runs, or make one: firetower loadtest run smoke")
	case errors.Is(err, reports.ErrNoResult):
		return withHint(&usageError{err}, "Name a run's folder below reports/runs, or its %s.", reports.ResultFile)
	case errors.Is(err, reports.ErrNoTarget):
		return &usageError{err}
	case errors.Is(err, reports.ErrSchema):
		return withHint(&usageError{err}, "It was written by another version; 'firetower loadtest run' writes %s", reports.Schema)
	default:
		return err
	}
}
