package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A serve in a process of its own: its announcement, a message from one process
// through it to another, and its orderly end.
func TestProcessServe(t *testing.T) {
	t.Parallel()
	for _, stop := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(stop.String(), func(t *testing.T) {
			t.Parallel()
			serve := startChild(t, append([]string{"serve", "--announce"}, anyPorts("serve")...)...)
			at := parseAnnouncement(t, serve.line(t))
			if at.Role != "serve" || at.PID != serve.cmd.Process.Pid {
				t.Errorf("announcement: %+v of process %d", at, serve.cmd.Process.Pid)
			}
			sub := startChild(t, "subscribe", "room", "--url", "ws://"+at.Listen+"/ws")
			awaitSubscribers(t, at.GRPC, "room", 1)
			for i := range 3 {
				pub := startChild(t, "publish", "room", fmt.Sprintf(`"%d"`, i), "--manager-grpc", at.GRPC)
				if line := pub.line(t); line != "room: taken by 1 of 1 gateway with subscribers\n" || pub.wait(t) != exitOK {
					t.Errorf("publish: %q %s", line, pub.stderr)
				}
				if got, want := sub.line(t), fmt.Sprintf("\"%d\"\n", i); got != want {
					t.Errorf("subscribe printed %q, want %q", got, want)
				}
			}
			sub.signal(t, stop)
			if code := sub.wait(t); code != exitOK {
				t.Errorf("subscribe ended with %d: %s", code, sub.stderr)
			}
			serve.signal(t, stop)
			if code := serve.wait(t); code != exitOK {
				t.Errorf("serve ended with %d: %s", code, serve.stderr)
			}
			if more := serve.line(t); more != "" {
				t.Errorf("serve wrote %q after its announcement", more)
			}
			for _, addr := range []string{at.Link, at.GRPC, at.HTTP, at.Listen} {
				if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
					c.Close()
					t.Errorf("somebody still listens on %s", addr)
				}
			}
		})
	}
}

// The first signal waits for a client that does not answer its close frame; the
// second does not.
func TestProcessSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	serve := startChild(t, append([]string{
		"serve", "--announce", "--set", "drain.timeout=1h", "--set", "gateway.closeTimeout=1h",
	}, anyPorts("serve")...)...)
	at := parseAnnouncement(t, serve.line(t))

	conn, err := net.Dial("tcp", at.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// RFC 6455, section 1.3, has the key.
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", at.Listen)
	answers := bufio.NewReader(conn)
	r, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", r.Status)
	}
	// The response comes a moment before the gateway has the connection; a pong
	// comes after. RFC 6455, section 5.2: a ping and a pong without data.
	if _, err := conn.Write([]byte{0x89, 0x80, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if pong, err := answers.Peek(2); err != nil || pong[0] != 0x8a {
		t.Fatalf("answer to a ping: %x, %v", pong, err)
	}

	serve.signal(t, syscall.SIGTERM)
	deadline := time.Now().Add(patience)
	for { // until the first signal has had its effect
		c, err := net.DialTimeout("tcp", at.Listen, time.Second)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("serve still accepts connections")
		}
		pause()
	}
	select {
	case err := <-serve.ended:
		serve.ended <- err
		t.Fatalf("serve did not wait for its client: %v\n%s", err, serve.stderr)
	default:
	}
	serve.signal(t, syscall.SIGTERM)
	if code := serve.wait(t); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, serve.stderr)
	}
}

// A gateway finds its manager when that comes later, and again after it was gone.
func TestProcessGatewayFindsItsManager(t *testing.T) {
	t.Parallel()
	m := startChild(t, append([]string{"manager", "--announce"}, anyPorts("manager")...)...)
	at := parseAnnouncement(t, m.line(t))
	m.signal(t, syscall.SIGTERM)
	if code := m.wait(t); code != exitOK {
		t.Fatalf("manager ended with %d: %s", code, m.stderr)
	}
	gw := startChild(t, append([]string{
		"gateway", "--announce", "--manager-link", at.Link, "--manager-grpc", at.GRPC, "--cluster-id", "g", "--set", "link.redialMax=100ms",
	}, anyPorts("gateway")...)...)
	again := []string{"manager", "--announce", "--link", at.Link, "--grpc", at.GRPC, "--http", at.HTTP}
	m = startChild(t, again...)
	parseAnnouncement(t, m.line(t))
	gwAt := parseAnnouncement(t, gw.line(t))

	sub := startChild(t, "subscribe", "room", "--url", "ws://"+gwAt.Listen+"/ws")
	awaitSubscribers(t, at.GRPC, "room", 1)
	m.signal(t, syscall.SIGTERM)
	if code := m.wait(t); code != exitOK {
		t.Fatalf("manager ended with %d: %s", code, m.stderr)
	}
	m = startChild(t, again...)
	parseAnnouncement(t, m.line(t))
	awaitSubscribers(t, at.GRPC, "room", 1)
	if code, stdout, stderr := cli(t, "publish", "room", `"hi"`, "--manager-grpc", at.GRPC); code != exitOK {
		t.Errorf("publish: %d %s%s", code, stdout, stderr)
	}
	if got := sub.line(t); got != "\"hi\"\n" {
		t.Errorf("subscribe printed %q", got)
	}
	for _, c := range []*child{sub, gw, m} {
		c.signal(t, syscall.SIGTERM)
		if code := c.wait(t); code != exitOK {
			t.Errorf("%q ended with %d: %s", c.cmd.Args, code, c.stderr)
		}
	}
}

// A reader that has seen enough ends the command, as it ends any.
func TestProcessSubscribeIntoAClosedPipe(t *testing.T) {
	t.Parallel()
	serve := startChild(t, append([]string{"serve", "--announce"}, anyPorts("serve")...)...)
	at := parseAnnouncement(t, serve.line(t))
	sub := startChild(t, "subscribe", "room", "--url", "ws://"+at.Listen+"/ws", "--count", "1")
	awaitSubscribers(t, at.GRPC, "room", 1)
	if code, _, stderr := cli(t, "publish", "room", `1`, "--manager-grpc", at.GRPC); code != exitOK {
		t.Error(stderr)
	}
	if line := sub.line(t); line != "1\n" || sub.wait(t) != exitOK {
		t.Errorf("subscribe --count 1 printed %q: %s", line, sub.stderr)
	}
}

func TestProcessMistakes(t *testing.T) {
	t.Parallel()
	c := startChild(t, "serve", "--config", "/dev/zero")
	if code := c.wait(t); code != exitUsage || !strings.Contains(c.stderr.String(), "/dev/zero: file is larger than this command reads") {
		t.Errorf("exit code %d: %s", code, c.stderr)
	}
	c = startChild(t, "subscribe")
	if code := c.wait(t); code != exitUsage {
		t.Errorf("exit code %d: %s", code, c.stderr)
	}
}
