//go:build lint

package firetower_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// linterEnv names the golangci-lint to run; `make lint` sets it.
const linterEnv = "FIRETOWER_GOLANGCI_LINT"

// TestLinterCatches plants every import that a rule forbids, and every one that it allows, into a
// skeleton of the tree under the real .golangci.yml: the linter must report all of the former, by
// the rule's own list, and none of the latter. A list whose glob matches nothing fails here.
func TestLinterCatches(t *testing.T) {
	linter := os.Getenv(linterEnv)
	if linter == "" {
		t.Fatalf("%s is not set: run `make lint`", linterEnv)
	}
	config, err := os.ReadFile(".golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	packages := skeletonPackages()
	cache := t.TempDir()
	for _, rule := range importRules {
		t.Run(rule.list, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, ".golangci.yml"), string(config))
			write(t, filepath.Join(root, "go.mod"), "module "+module+"\n\ngo 1.26.0\n")
			for _, pkg := range packages {
				write(t, filepath.Join(root, pkg, "doc.go"), "// Package "+path.Base(pkg)+" is a stand-in.\npackage "+path.Base(pkg)+"\n")
			}
			// A plant is a package of its own below the folder, except the first of each kind, which
			// stands in the folder itself: both must be covered.
			var forbidden, allowed []string
			for i, target := range packages {
				importer := rule.importer(target)
				if importer == "" {
					continue
				}
				file := filepath.Join(importer, fmt.Sprintf("plant%d", i), "plant.go")
				if len(forbidden) == 0 && rule.forbids(target) {
					file = filepath.Join(importer, "plant.go")
				}
				write(t, filepath.Join(root, file), fmt.Sprintf("package %s\n\nimport _ %q\n",
					path.Base(filepath.Dir(file)), module+"/"+target))
				if rule.forbids(target) {
					forbidden = append(forbidden, file)
				} else {
					allowed = append(allowed, file)
				}
			}
			if len(forbidden) == 0 {
				t.Fatal("the rule forbids nothing")
			}
			caught := lint(t, linter, root, cache)
			for _, file := range forbidden {
				if !slices.Contains(caught[file], rule.list) {
					t.Errorf("%s: caught by %q, not by %q", file, caught[file], rule.list)
				}
			}
			for _, file := range allowed {
				if slices.Contains(caught[file], rule.list) {
					t.Errorf("%s: caught by %q, though it is allowed", file, rule.list)
				}
			}
		})
	}
}

// skeletonPackages are the folders that the rules name, and the entry point.
func skeletonPackages() []string {
	packages := []string{"cmd/firetower"}
	for _, rule := range importRules {
		for _, folder := range slices.Concat([]string{rule.folder}, rule.only, rule.deny) {
			if folder != "" && folder != "cmd" && !slices.Contains(packages, folder) {
				packages = append(packages, folder)
			}
		}
	}
	slices.Sort(packages)
	return packages
}

// importer is the folder to plant an import of target in: the rule's own, or one that is neither
// target nor related to it. It is empty when the two would import each other.
func (r importRule) importer(target string) string {
	from := r.folder
	if from == "" {
		from = "scenarios"
	}
	if target == from {
		return ""
	}
	return from
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lint runs depguard alone over the module at root and returns, by file, the lists that reported it.
func lint(t *testing.T, linter, root, cache string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), linter, "run", "--enable-only", "depguard",
		"--output.json.path", "stdout", "--show-stats=false", "--issues-exit-code", "0", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+cache, "GOFLAGS=-mod=mod", "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("golangci-lint: %v\n%s%s", err, stdout.String(), stderr.String())
	}
	var result struct {
		Issues []struct {
			FromLinter, Text string
			Pos              struct{ Filename string }
		}
	}
	if err := json.NewDecoder(&stdout).Decode(&result); err != nil {
		t.Fatalf("golangci-lint's output: %v\n%s", err, stderr.String())
	}
	caught := make(map[string][]string)
	for _, issue := range result.Issues {
		if issue.FromLinter != "depguard" {
			t.Errorf("%s: %s: %s", issue.Pos.Filename, issue.FromLinter, issue.Text)
			continue
		}
		// "import 'x' is not allowed from list 'name': why"
		_, rest, _ := strings.Cut(issue.Text, "from list '")
		name, _, _ := strings.Cut(rest, "'")
		caught[issue.Pos.Filename] = append(caught[issue.Pos.Filename], name)
	}
	return caught
}
