package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"firetower/core/client"
	"firetower/core/protocol"
)

// A subscription that a kick has ended is told of, and the last one ends subscribe.
func TestKickEndsSubscribe(t *testing.T) {
	t.Parallel()
	at := startService(t, newProcess(append([]string{"serve"}, anyPorts("serve")...)...))
	p := newProcess("subscribe", "room-1", "room-2", "--url", "ws://"+at.Listen+"/ws")
	p.start()
	kick := func(topic, told string) {
		t.Helper()
		awaitSubscribers(t, at.GRPC, topic, 1)
		if code, stdout, stderr := cli(t, "kick", "--topic", topic, "--manager-grpc", at.GRPC); code != exitOK {
			t.Fatalf("kick: exit code %d: %s%s", code, stdout, stderr)
		}
		p.stderr.awaitText(t, told)
	}
	kick("room-1", "firetower subscribe: unsubscribed from room-1 by the server\n")
	if code, stdout, stderr := cli(t, "publish", "room-2", "still here", "--manager-grpc", at.GRPC); code != exitOK {
		t.Errorf("publish: exit code %d: %s%s", code, stdout, stderr)
	}
	p.stdout.awaitText(t, "room-2\tstill here\n")
	kick("room-2", "unsubscribed from room-2 by the server\nfiretower subscribe: no topic is left\n")
	if code := p.wait(t); code != exitError {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// What a gateway answers instead of the upgrade has a hint of its own.
func TestSubscribeIsNotLetIn(t *testing.T) {
	t.Parallel()
	for answer, want := range map[int]string{
		http.StatusUnauthorized:       "\nThe gateway wants to know who asks: tell it with --header 'Authorization: Bearer TOKEN'; 'firetower token' makes one.\n",
		http.StatusForbidden:          "\nThe gateway refuses this origin, see gateway.origins.\n",
		http.StatusNotFound:           "\nThe path is gateway.path (default /ws).\n",
		http.StatusServiceUnavailable: "\nThe gateway is stopping or full, or too many connect at once: see [limits] and [admission].\n",
		http.StatusTeapot:             "bad handshake\n",
	} {
		t.Run(http.StatusText(answer), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
			defer server.Close()
			code, _, stderr := cli(t, "subscribe", "a", "--url", "ws"+strings.TrimPrefix(server.URL, "http"))
			if code != exitError || !strings.HasSuffix(stderr, want) || strings.Count(stderr, "\n") != strings.Count(want, "\n") {
				t.Errorf("exit code %d: %s\nwant it to end with %s", code, stderr, want)
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		code, _, stderr := cli(t, "subscribe", "a", "--timeout", "50ms", "--url", "ws://"+silent.Addr().String()+"/ws")
		if code != exitError || !strings.Contains(stderr, "\nIs a gateway running there? ") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestUnconfirmedSubscriptionIsExplained(t *testing.T) {
	t.Parallel()
	const hint = "The gateway answers, but did not confirm the subscription: is its manager running? Ask its /readyz.\n"
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no answer", fmt.Errorf("client: %w", context.DeadlineExceeded), hint},
		{"not just now", &client.RequestError{Op: "subscribe", Topic: "a", Code: protocol.CodeUnavailable}, hint},
		{"for good", &client.RequestError{Op: "subscribe", Topic: "a", Code: protocol.CodeForbidden}, `subscribe "a": forbidden` + "\nThis client may not subscribe to it: see its token, and the gateway's auth.subscribe.\n"},
		{"another topic name", &client.RequestError{Op: "subscribe", Topic: "a", Code: protocol.CodeBadTopic}, `subscribe "a": bad_topic` + "\n"},
	} {
		p := newProcess()
		code := report(p.state, newRootCommand(p.state), explainSubscribe(tt.err), false)
		if code != exitError || !strings.HasSuffix(p.stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d: %s", tt.name, code, p.stderr)
		}
	}
}

// refusingAddress is one that refuses connections, and that nobody else gets while the
// test runs: a port is taken by a connection, at which nobody listens.
func refusingAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		ln.Close()
	})
	return conn.LocalAddr().String()
}

func TestNoManagerThere(t *testing.T) {
	t.Parallel()
	nobody := refusingAddress(t)
	for _, args := range []string{"publish a b", "topics", "gateways", "kick --user a"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, append(strings.Fields(args), "--manager-grpc", nobody)...)
			command := "firetower " + strings.Fields(args)[0]
			want := command + ": manager at " + nobody + ": dial tcp " + nobody + ": connect: connection refused\n" +
				"Is a manager running there? Start one with 'firetower serve' or 'firetower manager', or name another with --manager-grpc HOST:PORT.\n"
			if code != exitError || stdout != "" || stderr != want {
				t.Errorf("exit code %d, standard output %q, standard error:\n%s\nwant\n%s", code, stdout, stderr, want)
			}
		})
	}
	t.Run("a socket that says nothing", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		code, _, stderr := cli(t, "topics", "--timeout", "50ms", "--manager-grpc", silent.Addr().String())
		if code != exitError || !strings.Contains(stderr, "no answer in time\nNo answer within 50ms. Is "+silent.Addr().String()+" the gRPC address of a manager") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		p := newProcess("topics", "--timeout", "1h", "--manager-grpc", silent.Addr().String())
		p.start()
		conn, err := silent.Accept() // it is on its way
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		p.signals <- syscall.SIGINT
		if code := p.wait(t); code != exitInterrupted {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
	})
	t.Run("no gateway", func(t *testing.T) {
		t.Parallel()
		code, _, stderr := cli(t, "subscribe", "a", "--url", "ws://"+nobody+"/ws")
		if code != exitError || !strings.HasPrefix(stderr, "firetower subscribe: gateway at ws://"+nobody+"/ws: ") ||
			!strings.HasSuffix(stderr, "\nIs a gateway running there? Start one with 'firetower serve' or 'firetower gateway', or name another with --url.\n") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestSubscribeFindsTheGateway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ listen, path, want string }{
		{"127.0.0.1:9999", "/ws", "ws://127.0.0.1:9999/ws"},
		{":9999", "/ws", "ws://127.0.0.1:9999/ws"},
		{"0.0.0.0:1", "/", "ws://127.0.0.1:1/"},
		{"[::]:1", "/", "ws://127.0.0.1:1/"},
		{"[::1]:1", "/", "ws://[::1]:1/"},
		{"a.example:1", "/x", "ws://a.example:1/x"},
	} {
		if got := gatewayURL(tt.listen, tt.path, false); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.listen, tt.path, got, tt.want)
		}
	}
}

// What comes from a stranger does not command the terminal.
func TestTerminalIsNotCommanded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, data, terminal string
	}{
		{"plain", "héllo\t\n", "héllo\t\n"},
		{"escape sequence", "\x1b[2J", `\x1b[2J`},
		{"C1 control", "\u009b2J", `\u009b2J`},
		{"carriage return", "a\rb", `a\rb`},
		{"not UTF-8", "a\xff", `a\xff`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for isTerminal, want := range map[bool]string{true: tt.terminal, false: tt.data} {
				p := newProcess()
				p.state.stdoutIsTerminal = isTerminal
				(&printer{g: p.state, end: make(chan error, 1)}).message(client.Message{Topic: "t", Data: []byte(tt.data)})
				if got := p.stdout.String(); got != want+"\n" {
					t.Errorf("terminal %v: %q, want %q", isTerminal, got, want+"\n")
				}
			}
		})
	}
}

func TestSubscribeSpeaksOfEvents(t *testing.T) {
	t.Parallel()
	for quiet, want := range map[bool]string{false: "firetower subscribe: ", true: ""} {
		p := newProcess()
		pr := &printer{g: p.state, f: subscribeFlags{quiet: quiet}}
		pr.event(client.Event{Kind: client.EventConnected})
		if got := p.stderr.String(); got != "" {
			t.Errorf("of a connection it says %q", got)
		}
		pr.event(client.Event{Kind: client.EventDisconnected, Err: io.EOF})
		if got := p.stderr.String(); !strings.HasPrefix(got, want) || (got == "") != quiet {
			t.Errorf("quiet %v: it says %q", quiet, got)
		}
	}
}
