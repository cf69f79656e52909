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
		Use:   "show [FOLDER | result.json]",
		Short: "Print the summary of a run, of the latest one when none is named",
		Long: `Print the summary of a run or of a comparison: of its folder, of its result.json,
or of the latest one in a folder of runs. Without an argument it is the latest
below reports/runs.`,
		Args: maxArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := latestRun
			if len(args) == 1 {
				path = args[0]
			}
			path = reports.Locate(path)
			switch reports.KindOf(path) {
			case reports.KindTune:
				return showTune(g, path, render, asJSON)
			case reports.KindSweep:
				return showSweep(g, path, render, asJSON)
			case reports.KindVersus:
				return showVersus(g, path, render, asJSON)
			default: // a run, or what is none of them, which reading it says
			}
			r, err := reports.Read(path)
			if err != nil {
				return readError(err)
			}
			if render != "" {
				page, err := r.HTML()
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Clean(render), page, 0o644); err != nil { //nolint:gosec // a report is for everyone to read
					return err
				}
			}
			if asJSON {
				return writeJSON(g.stdout, r)
			}
			dir := ""
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				dir = path
			}
			_, err = fmt.Fprint(g.stdout, r.Summary(dir))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the document")
	cmd.Flags().StringVar(&render, "html", "", "also write the page, made anew from the document, to `FILE`")
	return cmd
}

// showSweep shows a sweep, its figures worked out anew from its runs.
func showSweep(g *globalState, path, render string, asJSON bool) error {
	s, err := reports.ReadSweep(path)
	if err != nil {
		return readError(err)
	}
	s.Fill()
	return showDocument(g, path, render, asJSON, s)
}

// showTune shows a search for the best setting.
func showTune(g *globalState, path, render string, asJSON bool) error {
	t, err := reports.ReadTune(path)
	if err != nil {
		return readError(err)
	}
	return showDocument(g, path, render, asJSON, t)
}

// showDocument prints a document or its summary, and makes its page anew when render
// names a file.
func showDocument(g *globalState, path, render string, asJSON bool, d interface {
	HTML() ([]byte, error)
	Summary(dir string) string
},
) error {
	if render != "" {
		page, err := d.HTML()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Clean(render), page, 0o644); err != nil { //nolint:gosec // a report is for everyone to read
			return err
		}
	}
	if asJSON {
		return writeJSON(g.stdout, d)
	}
	_, err := fmt.Fprint(g.stdout, d.Summary(path))
	return err
}

// showVersus shows targets side by side.
func showVersus(g *globalState, path, render string, asJSON bool) error {
	v, err := reports.ReadVersus(path)
	if err != nil {
		return readError(err)
	}
	return showDocument(g, path, render, asJSON, v)
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
