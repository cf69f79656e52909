package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"firetower/reports"
)

// runsAt are the results that a path stands for: of a run, or of all runs of a
// comparison of targets.
func runsAt(path string) ([]*reports.Result, error) {
	path = reports.Locate(path)
	if reports.KindOf(path) != reports.KindVersus {
		r, err := reports.Read(path)
		if err != nil {
			return nil, readError(err)
		}
		return []*reports.Result{r}, nil
	}
	v, err := reports.ReadVersus(path)
	if err != nil {
		return nil, readError(err)
	}
	var out []*reports.Result
	for _, run := range v.Runs {
		if run.Folder == "" {
			continue // did not start
		}
		r, err := reports.Read(filepath.Join(reports.FolderOf(path), run.Folder))
		if err != nil {
			return nil, readError(err)
		}
		out = append(out, r)
	}
	return out, nil
}

// atLeastOneRun refuses a command line without arguments.
func atLeastOneRun(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("want at least one run: its folder or its " + reports.ResultFile)
	}
	return nil
}

func newReportExportCommand(g *globalState) *cobra.Command {
	format, out := "csv", "-"
	cmd := &cobra.Command{
		Use:   "export RUN...",
		Short: "Write the figures of runs for other tools",
		Long: `Write the figures of runs for other tools. RUN is a run's folder, its result.json,
or the folder of a comparison of targets, which stands for all its runs.

  csv       one figure a line: whole-run figures, percentiles, and what has a place
            in time (seconds, processes, the servers' own figures)
  benchfmt  the format of Go benchmarks, for benchstat: one line a run; runs that
            are invalid or were interrupted are left out
  hlog      the whole distributions of one run as a histogram log, for
            HistogramLogProcessor; the run's own latency.hlog has a line a second`,
		Example: `  firetower report export reports/runs/latest > run.csv
  firetower report export --format benchfmt reports/baselines/vs-floor-5ps > vs.txt`,
		Args: atLeastOneRun,
		RunE: func(_ *cobra.Command, args []string) error {
			var runs []*reports.Result
			for _, path := range args {
				r, err := runsAt(path)
				if err != nil {
					return err
				}
				runs = append(runs, r...)
			}
			var b bytes.Buffer
			if err := reports.Export(&b, format, runs); err != nil {
				return &usageError{err}
			}
			if out == "-" {
				_, err := io.Copy(g.stdout, &b)
				return err
			}
			return os.WriteFile(filepath.Clean(out), b.Bytes(), 0o644) //nolint:gosec // reports are for everyone to read
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "`FORMAT`: "+strings.Join(reports.Formats(), ", "))
	cmd.Flags().StringVarP(&out, "out", "o", out, "write to `FILE`; - is standard output")
	return cmd
}

func newReportHTMLCommand(g *globalState) *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "html RUN...",
		Short: "Make the pages of runs anew, as this build draws them",
		Long: `Make the pages of runs, sweeps, searches and comparisons of targets anew from
their documents, as this build draws them. Each is written as report.html into the
document's folder, where it replaces what is there, or to --out.`,
		Args: atLeastOneRun,
		RunE: func(_ *cobra.Command, args []string) error {
			if out != "" && len(args) > 1 {
				return &usageError{fmt.Errorf("--out is one file, and %d runs are named", len(args))}
			}
			for _, path := range args {
				path = reports.Locate(path)
				d, err := reports.Open(path)
				if err != nil {
					return readError(err)
				}
				to := out
				if to == "" {
					to = filepath.Join(reports.FolderOf(path), reports.HTMLFile)
				}
				if err := writePage(d, to); err != nil {
					return err
				}
				if _, err := fmt.Fprintln(g.stdout, to); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` in place of the run's folder")
	return cmd
}

func newReportValidateCommand(g *globalState) *cobra.Command {
	return &cobra.Command{
		Use:   "validate RUN...",
		Short: "Check result documents: their format, and the sums that must hold",
		Long: `Check result documents: their format, the sums that must hold in every one, and
that each histogram holds as many values as its distribution says. It says nothing
about the run's own verdict. The exit code is 2 when any document fails.

The format is reports/schema/run.schema.json, for validators of JSON Schema.`,
		Args: atLeastOneRun,
		RunE: func(_ *cobra.Command, args []string) error {
			failed := 0
			for _, path := range args {
				path = reports.Locate(path)
				word := "ok"
				unknown, err := reports.Validate(path)
				switch {
				case err != nil:
					failed++
					word = err.Error()
				case unknown != "":
					word = "ok, with a property that this build does not know: " + unknown
				}
				if _, err := fmt.Fprintf(g.stdout, "%s: %s\n", path, strings.TrimPrefix(word, path+": ")); err != nil {
					return err
				}
			}
			if failed > 0 {
				return &usageError{fmt.Errorf("%d of %d documents are not valid", failed, len(args))}
			}
			return nil
		},
	}
}
