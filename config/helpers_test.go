package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"firetower/config"
)

// files is a file system of a test: name to content.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	content, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(content), nil
}

// sources are those of a test with one file, "gw.toml" or "mgr.toml".
func sources(gateway, manager string, env []string, flags ...string) config.Sources {
	src := config.Sources{Environ: env}
	f := files{}
	if gateway != "" {
		src.GatewayFile, f["gw.toml"] = "gw.toml", gateway
	}
	if manager != "" {
		src.ManagerFile, f["mgr.toml"] = "mgr.toml", manager
	}
	src.ReadFile = f.read
	for _, s := range flags {
		name, value, _ := strings.Cut(s, "=")
		src.Flags = append(src.Flags, config.Flag{Name: "--set", Key: name, Value: value})
	}
	return src
}

// lines splits an error into its problems.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// wantProblems fails the test when err is not exactly these problems.
func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	if got := lines(err); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("problems:\n got: %s\nwant: %s", strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
	if len(want) == 0 {
		return
	}
	var problem *config.SourceError
	var all config.SourceErrors
	if !errors.As(err, &problem) || !errors.As(err, &all) || len(all) != len(want) {
		t.Errorf("the error is a %T of %d problems, want config.SourceErrors of %d", err, len(all), len(want))
	}
}

// setting finds a setting by its key.
func setting(t *testing.T, settings []config.Setting, key string) config.Setting {
	t.Helper()
	for _, s := range settings {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no setting %s", key)
	return config.Setting{}
}
