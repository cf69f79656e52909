package loadtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

func TestTargetOfABuild(t *testing.T) {
	t.Parallel()
	for target, want := range map[loadtest.Target]string{"firetower@/tmp/old": "/tmp/old", "firetower@old": "old", "firetower": "", "firetower@": "", "floor": "", "nats@x": ""} {
		if path, ok := target.Build(); path != want || ok != (want != "") {
			t.Errorf("%s is the build %q, %v", target, path, ok)
		}
	}
}

func TestReadBuild(t *testing.T) {
	t.Parallel()
	b, err := loadtest.ReadBuild(t.Context(), binary, os.Environ())
	if err != nil || len(b.Binary) != 64 || b.Version == "" || !strings.HasPrefix(b.Go, "go1.") || b.Path != binary {
		t.Errorf("%+v (%v)", b, err)
	}
	script := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho '{}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"nothing": "/nowhere/firetower", "a folder": t.TempDir(), "a program that fails": "/bin/false", "another program": script} {
		if _, err := loadtest.ReadBuild(t.Context(), path, os.Environ()); !errors.Is(err, loadtest.ErrBuild) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

// The servers of another build take turns with ours, under a harness that is ours.
func TestVersusOfTwoBuilds(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	// Bytes behind the end of an executable are no part of it, and make it another one.
	old := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(old, append(data, "old"...), 0o700); err != nil {
		t.Fatal(err)
	}
	s := tiny(t, func(s *scenarios.Scenario) { s.Phases.Measure = scenarios.Seconds(0.5) })
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	other := loadtest.Target("firetower@" + old)
	v, dir, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
		Options: o, Plans: []*loadtest.Plan{plan(t, s, loadtest.Firetower), plan(t, s, other)}, Repeat: 1, Gate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	// One run a side could not have found anything worse: such a gate must not say that all is well.
	if v.Targets[1] != string(other) || v.ExitCode != loadtest.ExitInvalid {
		t.Errorf("targets %v, exit code %d", v.Targets, v.ExitCode)
	}
	for _, run := range v.Runs {
		r, err := reports.Read(filepath.Join(dir, run.Folder))
		if err != nil {
			t.Fatal(err)
		}
		everythingArrived(t, r)
		b := r.Environment.Server
		switch {
		case r.Target == "firetower" && b != nil:
			t.Errorf("our own servers are of %+v", b)
		case r.Target == string(other) && (b == nil || b.Path != old || b.Binary == r.Environment.Binary || b.Version == ""):
			t.Errorf("the other servers are of %+v", b)
		case !strings.HasSuffix(run.Folder, "-"+map[bool]string{true: "firetower", false: "firetower-old"}[b == nil]):
			t.Errorf("folder %s", run.Folder)
		}
	}
	o.Plan = plan(t, s, "firetower@/nowhere/firetower")
	if _, _, err := loadtest.Run(t.Context(), o); !errors.Is(err, loadtest.ErrBuild) {
		t.Errorf("a build that is not there gave %v", err)
	}
}
