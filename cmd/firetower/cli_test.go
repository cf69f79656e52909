package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

func TestMistakesInTheCall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args string
		want string
	}{
		{"unknown command", "sevre", `firetower: unknown command "sevre", did you mean serve?`},
		{"half a command", "serv", `firetower: unknown command "serv", did you mean serve?`},
		{"no command at all", "dance", "firetower: unknown command \"dance\"\nRun 'firetower --help' for usage.\n"},
		{"help on nothing", "help nope", "firetower help: unknown help topic \"nope\"\n"},
		{"help on half a command", "help config prin", `firetower help: unknown help topic "prin", did you mean print?`},
		{"unknown subcommand", "config chekc", `firetower config: unknown command "chekc", did you mean check?`},
		{"unknown flag", "serve --lisen :0", "firetower serve: unknown flag: --lisen"},
		{"unexpected argument", "serve now", `firetower serve: takes no arguments, got "now"`},
		{"flag without a value", "gateway --listen", "firetower gateway: flag needs an argument: --listen"},
		{"bad address", "gateway --listen 9999", `firetower gateway: configuration: --listen: gateway.listen: "9999" has no port: want host:port`},
		{"bad address to connect to", "gateway --manager-link :0", `firetower gateway: configuration: --manager-link: topicServiceAddr: ":0" names no host to connect to`},
		{"bad key", "gateway --set bucket.nmu=1", "firetower gateway: configuration: --set: bucket.nmu: unknown key, did you mean bucket.Num?"},
		{"bad value", "manager --set heartbeat=soon", `firetower manager: configuration: --set: heartbeat: want a duration such as "30s", "250ms" or "1m30s", got "soon"`},
		{"set without a value", "serve --set bucket.num", `firetower serve: --set "bucket.num": want KEY=VALUE, as in --set bucket.Num=8`},
		{"key of both services", "serve --set heartbeat=3s", "firetower serve: configuration: --set: heartbeat: is a key of both services: say manager.heartbeat or gateway.heartbeat"},
		{"choice", "serve --log-level loud", `firetower serve: configuration: --log-level: log.level: must be debug, info, warn or error, got "loud"`},
		{"missing file", "serve --config none.toml", "firetower serve: configuration: none.toml: file does not exist"},
		{"several problems", "gateway --set a=1 --set b=2", "firetower gateway: 2 problems in the configuration:\n  --set: a: unknown key\n  --set: b: unknown key"},
		{"publish nothing", "publish", "firetower publish: want a TOPIC"},
		{"publish too much", "publish room hello world", "firetower publish: want one DATA, got 2: put quotes around data with spaces"},
		{"publish to a bad topic", "publish a,b x", `firetower publish: topic "a,b": `},
		{"publish with no time", "publish a b --timeout 0s", "firetower publish: --timeout 0s: must be more than 0s"},
		{"subscribe to nothing", "subscribe", "firetower subscribe: want a TOPIC"},
		{"subscribe by http", "subscribe a --url http://127.0.0.1/", `firetower subscribe: --url "http://127.0.0.1/": want ws://HOST:PORT/PATH or wss://...`},
		{"subscribe with half a header", "subscribe a --header x", `firetower subscribe: --header "x": want NAME:VALUE`},
		{"subscribe with no time", "subscribe a --timeout 0s", "firetower subscribe: --timeout 0s: must be more than 0s"},
		{"topics none", "topics --limit 0", "firetower topics: --limit 0: must be at least 1"},
		{"topics minus one", "topics --limit -1", "firetower topics: --limit: want a whole number that is not negative, got \"-1\"\n"},
		{"topics very many", "topics --limit 4294967296", `firetower topics: --limit: want a smaller number, got "4294967296"`},
		{"topics by name", "topics room", `firetower topics: takes no arguments, got "room"`},
		{"count of half a message", "subscribe a --count 0.5", `firetower subscribe: --count: want a whole number that is not negative, got "0.5"`},
		{"time without a unit", "publish a b --timeout 5", `firetower publish: --timeout: want a duration such as "30s", "250ms" or "1m30s", got "5"`},
		{"neither yes nor no", "topics --json=perhaps", `firetower topics: invalid argument "perhaps" for "--json" flag`},
		{"subscribe with a header of the handshake", "subscribe a --header upgrade:x", `firetower subscribe: --header "upgrade:x": Upgrade is part of the upgrade itself`},
		{"kick an argument", "kick room-1", `firetower kick: takes no arguments, got "room-1"`},
		{"kick nobody", "kick", "firetower kick: want --topic, --user or both"},
		{"kick a bad topic", "kick --topic a,b", `firetower kick: topic "a,b": `},
		{"version of what", "version me", `firetower version: takes no arguments, got "me"`},
		{"example of nothing", "config example", "firetower config example: want gateway or manager, got 0 arguments"},
		{"example of something else", "config example client", `firetower config example: unknown service "client": want gateway or manager`},
		{"print two", "config print gateway manager", `firetower config print: unexpected argument "manager"`},
		{"print a file without a service", "config print --config x.toml", "firetower config print: whose configuration is x.toml? say gateway or manager before --config"},
		{"print a set without a service", "config print --set bucket.Num=1", "firetower config print: --set bucket.Num=1: whose key? say gateway or manager"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, strings.Fields(tt.args)...)
			if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, tt.want) {
				t.Errorf("exit code %d, want %d; standard output %q; standard error:\n%s\nwant\n%s", code, exitUsage, stdout, stderr, tt.want)
			}
		})
	}
}

func TestDataMustBeTypedOnPurpose(t *testing.T) {
	t.Parallel()
	p := newProcess("publish", "room-1")
	p.state.stdinIsTerminal = true
	if code := p.run(t); code != exitUsage || !strings.Contains(p.stderr.String(), `want DATA, or "-" to type it`) {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// What is an unknown variable in the environment is refused by every command
// that has a configuration, and by no other.
func TestEnvironmentIsChecked(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{
		"serve": exitUsage, "manager": exitUsage, "gateway": exitUsage, "publish a b": exitUsage, "subscribe a": exitUsage,
		"topics": exitUsage, "gateways": exitUsage, "kick --user x": exitUsage, "config check": exitUsage, "config print": exitUsage,
		"version": exitOK, "config example gateway": exitOK, "": exitOK,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			p := newProcess(strings.Fields(args)...).withEnv("FIRETOWER_BUCKET_NMU=1", "HOME=/")
			if code := p.run(t); code != want {
				t.Errorf("exit code %d, want %d:\n%s", code, want, p.stderr)
			}
			if want == exitUsage && !strings.Contains(p.stderr.String(), "FIRETOWER_BUCKET_NMU: unknown variable, did you mean FIRETOWER_BUCKET_NUM?") {
				t.Errorf("standard error: %s", p.stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", []string{"Usage:", "serve", "publish", "Exit codes:"}},
		{"--help", []string{"Usage:", "105  interrupted"}},
		{"help exit-codes", []string{"Exit codes:\n    0  success", "97", "98", "99", "105"}},
		{"help exit-codes", []string{"loadtest: the run is valid or degraded, and held", "99  loadtest: the run is valid or degraded, and missed"}},
		{"--version", []string{"firetower ", " go1."}},
		{"help config print", []string{"firetower config print [gateway|manager]"}},
		{"help kick", []string{"gateway.userHeader"}},
		{"help configuration", []string{"default < file", "bucket.CentralChanCount", "FIRETOWER_BUCKET_CENTRAL_CHAN_COUNT", "socket.port", "--manager-grpc"}},
		{"serve --help", []string{"--listen HOST:PORT", "(default 127.0.0.1:9999)", "--announce", "second ends it at once"}},
		{"gateway --help", []string{"--manager-link HOST:PORT", "--manager-grpc HOST:PORT", "--http HOST:PORT"}},
		{"manager --help", []string{"--link HOST:PORT", "--grpc HOST:PORT", "--http HOST:PORT", "(default 127.0.0.1:8000)"}},
		{"config", []string{"check", "print", "example"}},
		{"completion bash", []string{"complete"}},
		{"__complete publish --set bucket.N", []string{"bucket.Num="}},
		{"__complete config print ", []string{"gateway", "manager"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Split(tt.args, " ")
			if tt.args == "" {
				args = nil
			}
			code, stdout, stderr := cli(t, args...)
			if code != exitOK {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in:\n%s", want, stdout)
				}
			}
		})
	}
}

// Every command says what it is for, and gives its flags a meaning.
func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	walk(newRootCommand(newProcess().state), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short description %q", c.CommandPath(), c.Short)
		}
	})
	for _, code := range []int{exitOK, exitError, exitUsage, exitRegression, exitInvalidRun, exitThreshold, exitInterrupted} {
		if !strings.Contains(exitCodesText, " "+strconv.Itoa(code)+"  ") {
			t.Errorf("exit code %d is not documented", code)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := cli(t, "version")
	if code != exitOK || !strings.HasPrefix(stdout, "firetower ") || !strings.Contains(stdout, " go1.") {
		t.Errorf("%d %q", code, stdout)
	}
	code, stdout, _ = cli(t, "version", "--json")
	var b buildInfo
	if err := json.Unmarshal([]byte(stdout), &b); code != exitOK || err != nil || b.Go == "" || b.Platform == "" || b.Version == "" {
		t.Errorf("%d %q %v", code, stdout, err)
	}
	for want, b := range map[string]buildInfo{
		"firetower v1.2.3 go1.26 linux/amd64":                             {Version: "v1.2.3", Go: "go1.26", Platform: "linux/amd64"},
		"firetower dev commit 0123456789ab go1.26 linux/amd64":            {Version: "dev", Commit: "0123456789abcdef", Go: "go1.26", Platform: "linux/amd64"},
		"firetower dev commit 0123456789ab (modified) go1.26 linux/amd64": {Version: "dev", Commit: "0123456789abcdef", Modified: true, Go: "go1.26", Platform: "linux/amd64"},
		"firetower dev commit 01 go1.26 linux/amd64":                      {Version: "dev", Commit: "01", Go: "go1.26", Platform: "linux/amd64"},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, tt := range []struct {
		name        string
		err         error
		interrupted bool
		code        int
		text        string
	}{
		{"nothing", nil, false, exitOK, ""},
		{"nothing, interrupted", nil, true, exitOK, ""},
		{"error", boom, false, exitError, "firetower: boom\n"},
		{"error after an interrupt", boom, true, exitError, "firetower: boom\n"},
		{"interrupt", fmt.Errorf("on the way: %w", &interruptedError{signal: os.Interrupt}), true, exitInterrupted, "firetower: on the way: interrupted (interrupt)\n"},
		{"cancelled by itself", context.Canceled, false, exitError, "firetower: context canceled\n"},
		{"usage", usagef("no"), true, exitUsage, "firetower: no\nRun 'firetower --help' for usage.\n"},
		{"coded", withExitCode(exitThreshold, boom), true, exitThreshold, "firetower: boom\n"},
		{"coded, all said", withExitCode(exitRegression, nil), false, exitRegression, ""},
		{"hint", withHint(boom, "duck %d times", 2), false, exitError, "firetower: boom\nduck 2 times\n"},
		{"hint among others", errors.Join(io.EOF, withHint(withExitCode(exitInvalidRun, boom), "duck")), false, exitInvalidRun, "firetower: EOF\nboom\nduck\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			if code := report(p.state, newRootCommand(p.state), tt.err, tt.interrupted); code != tt.code || p.stderr.String() != tt.text {
				t.Errorf("%d %q, want %d %q", code, p.stderr, tt.code, tt.text)
			}
		})
	}
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	if _, err := readFile("/dev/zero"); !errors.Is(err, errFileTooLarge) {
		t.Errorf("/dev/zero: %v", err)
	}
	if _, err := readFile(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if b, err := readFile("doc.go"); err != nil || !strings.HasPrefix(string(b), "// Command firetower") {
		t.Errorf("doc.go: %q %v", b, err)
	}
}

// The first signal cancels the command and leaves the exit code to it.
func TestFirstSignalCancels(t *testing.T) {
	t.Parallel()
	p := newProcess("publish", "a", "-")
	r, w := io.Pipe() // standard input that never comes
	defer w.Close()
	p.state.stdin = r
	p.start()
	p.signals <- syscall.SIGINT
	if code := p.wait(t); code != exitInterrupted || p.stderr.String() != "firetower publish: interrupted (interrupt)\n" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// The second ends run whatever the command does.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcess("version")
	r, w := io.Pipe() // standard output that nobody reads
	defer r.Close()
	p.state.stdout = w
	p.start()
	p.signals <- syscall.SIGINT
	p.signals <- syscall.SIGTERM
	if code := p.wait(t); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}
