package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A profile of a manager and of a gateway reads by role: no goroutine of theirs is without
// one, with clients at rest, with one in the middle of a message, and with one that does not
// read what is sent to it.
func TestProcessProfilesReadByRole(t *testing.T) {
	t.Parallel()
	m := startChild(t, append([]string{"manager", "--announce", "--pprof"}, anyPorts("manager")...)...)
	at := parseAnnouncement(t, m.line(t))
	gw := startChild(t, append([]string{
		"gateway", "--announce", "--pprof", "--manager-link", at.Link, "--manager-grpc", at.GRPC,
		"--set", "slowConsumer.pendingBytes=64MiB", "--set", "gateway.frameTimeout=1h",
	}, anyPorts("gateway")...)...)
	gwAt := parseAnnouncement(t, gw.line(t))

	startChild(t, "subscribe", "room", "--url", "ws://"+gwAt.Listen+"/ws")
	halfway := upgraded(t, gwAt.Listen)
	frame := maskedText(`{"type":"publish","topic":"room","data":"` + strings.Repeat("x", 4000) + `"}`)
	if _, err := halfway.Write(frame[:2000]); err != nil {
		t.Fatal(err)
	}
	deaf := upgraded(t, gwAt.Listen)
	if _, err := deaf.Write(maskedText(`{"type":"subscribe","topic":"loud"}`)); err != nil {
		t.Fatal(err)
	}
	awaitSubscribers(t, at.GRPC, "room", 1)
	awaitSubscribers(t, at.GRPC, "loud", 1)
	for range 8 {
		p := newProcess("publish", "loud", "-", "--manager-grpc", at.GRPC).withStdin(strings.Repeat("x", 1<<20))
		if code := p.run(t); code != exitOK {
			t.Fatalf("publish: %s", p.stderr)
		}
	}
	deadline := time.Now().Add(patience)
	for metric := "firetower_gateway_backlogged_connections 1\n"; ; pause() {
		_, metrics := get(t, "http://"+gwAt.HTTP+"/metrics")
		if strings.Contains(metrics, metric) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the client that does not read has no backlog")
		}
	}

	for _, service := range []struct {
		name, http string
		roles      []string
	}{
		{"manager", at.HTTP, []string{"manager", "link_server", "grpc_server", "http_server", "check_heartbeat", "link", "link_writer"}},
		{"gateway", gwAt.HTTP, []string{"gateway", "bucket-consumer", "heartbeat", "link", "registrar"}},
	} {
		status, profile := get(t, "http://"+service.http+"/debug/pprof/goroutine?debug=1")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", service.name, status, profile)
		}
		roles, without := rolesOf(profile)
		for _, stack := range without {
			t.Errorf("%s: a goroutine without a role:\n%s", service.name, stack)
		}
		for _, role := range service.roles {
			if roles[role] == 0 {
				t.Errorf("%s: no goroutine has the role %s: %v", service.name, role, roles)
			}
		}
	}
}

// rolesOf counts the goroutines of a profile by role, and returns those that run code of
// core without one.
func rolesOf(profile string) (roles map[string]int, without []string) {
	role := regexp.MustCompile(`# labels: \{.*"role":"([^"]+)"`)
	roles = map[string]int{}
	for _, stack := range strings.Split(profile, "\n\n") {
		if m := role.FindStringSubmatch(stack); m != nil {
			roles[m[1]]++
		} else if strings.Contains(stack, "firetower/core/") {
			without = append(without, stack)
		}
	}
	return roles, without
}

func TestRolesOf(t *testing.T) {
	t.Parallel()
	roles, without := rolesOf("goroutine profile: total 4\n" +
		"2 @ 0x1\n# labels: {\"name\":\"0/1\", \"role\":\"bucket-consumer\"}\n#\t0x1\tfiretower/core/gateway.(*lane).run+0x1\n\n" +
		"1 @ 0x2\n# labels: {\"name\":\"x\"}\n#\t0x2\tfiretower/core/manager.(*link).read+0x2\n\n" +
		"1 @ 0x3\n#\t0x3\tmain.main+0x3\n")
	if roles["bucket-consumer"] != 1 || len(roles) != 1 || len(without) != 1 || !strings.Contains(without[0], "(*link).read") {
		t.Errorf("roles %v, without one: %q", roles, without)
	}
}

// upgraded is a WebSocket connection without a library around it.
func upgraded(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	// RFC 6455, section 1.3, has the key.
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", r.Status)
	}
	return conn
}

// maskedText is a client's text frame (RFC 6455, section 5.2), masked with zeros, which
// leave the text as it is.
func maskedText(text string) []byte {
	frame := []byte{0x81}
	if len(text) < 126 {
		frame = append(frame, 0x80|byte(len(text)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(text)))
	}
	return append(append(frame, 0, 0, 0, 0), text...)
}
