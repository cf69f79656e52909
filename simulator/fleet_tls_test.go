package simulator_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/simulator"
)

// The goroutine engine speaks TLS to servers that its certificates vouch for, and to no other.
func TestFleetOverTLS(t *testing.T) {
	front := httptest.NewUnstartedServer(nil)
	s := newStub(t, nil)
	front.Config.Handler = s.server.Handler
	front.StartTLS()
	t.Cleanup(front.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	config := testConfig(s, simulator.EngineGoroutine, 3)
	config.URLs = []string{"wss" + strings.TrimPrefix(front.URL, "https") + "/"}
	config.CAFile = file
	f := startFleet(t, config)
	f.connect()
	waitFor(t, "all have subscribed", func() bool { return len(s.all()) == 3 })
	for _, c := range s.all() {
		if _, ok := c.ws.NetConn().(*tls.Conn); !ok {
			t.Errorf("a connection is a %T", c.ws.NetConn())
		}
	}
}

func TestTLSIsRefused(t *testing.T) {
	config := simulator.DefaultConfig()
	config.Connections, config.URLs = 1, []string{"wss://127.0.0.1:1/"}
	for _, engine := range []simulator.Engine{simulator.EngineRing, simulator.EngineEpoll} {
		config.Engine = engine
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("is TLS, and engine %q reads raw sockets", engine)) {
			t.Errorf("%s: %v", engine, err)
		}
	}
	config.Engine = simulator.EngineGoroutine
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "holds no certificate", empty + ".nothing": "no such file"} {
		config.CAFile = file
		if _, err := simulator.New(config); err == nil || !strings.Contains(err.Error(), "ca_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
