// Package firetower_test holds the tests of the module as a whole: who may import whom.
package firetower_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "firetower"

// importRule is one list of depguard's settings in .golangci.yml. The table below drives both
// the check of the real tree and, with the build tag lint, the planted violations.
type importRule struct {
	// list is the name of the depguard list.
	list string
	// folder holds the packages that the rule is about; empty means the whole module.
	folder string
	// except are the folders that the rule leaves alone.
	except []string
	// only are the project packages that the folder may import, with all below them;
	// nil means any that deny does not name.
	only []string
	// deny are the project packages that the folder may not import, with all below them.
	deny []string
	// testsToo is whether the rule holds for _test.go files.
	testsToo bool
}

var importRules = []importRule{
	{list: "protocol", folder: "core/protocol", only: []string{"core/protocol"}, testsToo: true},
	{list: "topicpb", folder: "core/topicpb", only: []string{"core/topicpb"}, testsToo: true},
	{list: "core", folder: "core", only: []string{"core"}, testsToo: true},
	{list: "manager", folder: "core/manager", deny: []string{"core/gateway"}, testsToo: true},
	{list: "gateway", folder: "core/gateway", deny: []string{"core/manager"}, testsToo: true},
	{list: "client", folder: "core/client", only: []string{"core/client", "core/protocol"}, testsToo: true},
	{list: "coretest", deny: []string{"core/coretest"}},
	{list: "simulator", folder: "simulator", only: []string{"simulator", "core/uring"}, testsToo: true},
	{list: "latency", folder: "simulator/latency", only: []string{"simulator/latency"}, testsToo: true},
	{list: "stamp", folder: "simulator/stamp", only: []string{"simulator/stamp"}, testsToo: true},
	{list: "scenarios", folder: "scenarios", only: []string{"scenarios", "config/suggest"}, testsToo: true},
	{
		list: "loadtest", folder: "loadtest", testsToo: true,
		only: []string{"loadtest", "scenarios", "simulator", "reports", "config", "core/topicpb", "core/schedstat"},
	},
	{list: "reports", folder: "reports", only: []string{"reports", "simulator/latency"}, testsToo: true},
	{list: "stats", folder: "reports/stats", only: []string{"reports/stats"}, testsToo: true},
	{list: "config", folder: "config", only: []string{"config"}, testsToo: true},
	{list: "schedstat", folder: "core/schedstat", only: []string{"core/schedstat"}, testsToo: true},
	{list: "auth", folder: "core/auth", only: []string{"core/auth", "core/gateway", "core/filewatch"}, testsToo: true},
	{list: "filewatch", folder: "core/filewatch", only: []string{"core/filewatch"}, testsToo: true},
	{list: "uring", folder: "core/uring", only: []string{"core/uring"}, testsToo: true},
	{list: "suggest", folder: "config/suggest", only: []string{"config/suggest"}, testsToo: true},
	{list: "cmd", except: []string{"cmd"}, deny: []string{"cmd"}, testsToo: true},
}

// covers tells whether the rule is about the package at path, relative to the module.
func (r importRule) covers(path string) bool {
	return (r.folder == "" || within(path, r.folder)) && !slices.ContainsFunc(r.except, func(f string) bool {
		return within(path, f)
	})
}

// forbids tells whether the rule forbids importing the package at path, relative to the module.
func (r importRule) forbids(path string) bool {
	in := func(f string) bool { return within(path, f) }
	return slices.ContainsFunc(r.deny, in) || r.only != nil && !slices.ContainsFunc(r.only, in)
}

// within tells whether path is folder or lies below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// inModule cuts the module's name off an import path; ok is false for any other module's.
func inModule(importPath string) (path string, ok bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func (p goPackage) path() string {
	path, _ := inModule(p.ImportPath)
	return path
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// TestImportRules checks the tree as it is. It also sees what the linter cannot: a package that
// reaches a denied one by way of another. (What an allowed package imports is its own rule's matter.)
func TestImportRules(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range importRules {
		t.Run(rule.list, func(t *testing.T) {
			covered := 0
			for _, p := range packages {
				if !rule.covers(p.path()) {
					continue
				}
				covered++
				imports := p.Imports
				if rule.testsToo {
					imports = slices.Concat(imports, p.TestImports, p.XTestImports)
				}
				for _, imported := range imports {
					if path, ok := inModule(imported); ok && rule.forbids(path) {
						t.Errorf("%s imports %s", p.path(), path)
					}
				}
				for _, dep := range p.Deps {
					if path, ok := inModule(dep); ok && rule.deny != nil && rule.forbids(path) {
						t.Errorf("%s depends on %s", p.path(), path)
					}
				}
			}
			if covered == 0 {
				t.Errorf("the rule covers no package: does %s exist?", rule.folder)
			}
			for _, path := range slices.Concat(rule.only, rule.deny) {
				if !slices.ContainsFunc(packages, func(p goPackage) bool { return within(p.path(), path) }) {
					t.Errorf("the rule names %s, where there is no package", path)
				}
			}
		})
	}
}

// TestImportRulesMatchTheLinter: the table and the depguard lists of .golangci.yml are the same set.
func TestImportRulesMatchTheLinter(t *testing.T) {
	config, err := os.ReadFile(".golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	lists := depguardLists(string(config))
	var rows []string
	for _, rule := range importRules {
		rows = append(rows, rule.list)
	}
	slices.Sort(lists)
	slices.Sort(rows)
	if !slices.Equal(lists, rows) {
		t.Errorf("depguard's lists are %q, the table's rows %q", lists, rows)
	}
}

// depguardLists returns the names of the lists in a golangci-lint configuration: the lines that
// are indented by exactly one level more than depguard's "rules:".
func depguardLists(config string) []string {
	const rules, list = "\n    depguard:\n      rules:\n", "        "
	_, block, found := strings.Cut(config, rules)
	if !found {
		return nil
	}
	var names []string
	for line := range strings.Lines(block) {
		if !strings.HasPrefix(line, list) {
			break
		}
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok && line[len(list)] != ' ' {
			names = append(names, name)
		}
	}
	return names
}

// TestImportRuleDecides pins the reading of the table itself.
func TestImportRuleDecides(t *testing.T) {
	row := func(list string) importRule {
		i := slices.IndexFunc(importRules, func(r importRule) bool { return r.list == list })
		if i < 0 {
			t.Fatalf("no rule %q", list)
		}
		return importRules[i]
	}
	tests := []struct {
		name, list, path string
		want             bool
	}{
		{"a folder may import itself", "simulator", "simulator/latency", false},
		{"a sibling that shares a prefix is another folder", "simulator", "simulators", true},
		{"core may not import the configuration", "core", "config", true},
		{"the simulator may import the queues of a ring", "simulator", "core/uring", false},
		{"the simulator may not import the rest of core", "simulator", "core/rawio", true},
		{"the manager may import the protocol", "manager", "core/protocol", false},
		{"the manager may not import the gateway", "manager", "core/gateway", true},
		{"load tests may import the service's messages", "loadtest", "core/topicpb", false},
		{"load tests may not import the manager", "loadtest", "core/manager", true},
		{"nobody may import a command", "cmd", "cmd/firetower", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := row(tt.list).forbids(tt.path); got != tt.want {
				t.Errorf("rule %s forbids %s = %t, want %t", tt.list, tt.path, got, tt.want)
			}
		})
	}
}
