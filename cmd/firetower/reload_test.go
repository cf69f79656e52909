package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writePair writes a self-signed certificate with a serial number and its key.
func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shownSerial is the serial number of the certificate that addr shows.
func shownSerial(t *testing.T, addr string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // which certificate it is, is the question
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// SIGHUP reads the certificate anew, a broken one ends nothing, and files are found
// beside the configuration that names them.
func TestProcessReloadsTheCertificate(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"serve", "gateway"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cert, key, conf := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "fireTower.toml")
			writePair(t, cert, key, 1)
			text := "[tls]\ncertFile = \"cert.pem\"\nkeyFile = \"key.pem\"\nreloadInterval = \"0s\"\n"
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{service, "--announce"}
			if service == "serve" {
				args = append(args, "--config", conf)
			} else {
				m := startChild(t, append([]string{"manager", "--announce"}, anyPorts("manager")...)...)
				at := parseAnnouncement(t, m.line(t))
				args = append(args, "--config", conf, "--manager-link", at.Link, "--manager-grpc", at.GRPC)
			}
			c := startChild(t, append(args, anyPorts(service)...)...)
			at := parseAnnouncement(t, c.line(t))
			if n := shownSerial(t, at.Listen); n != 1 {
				t.Fatalf("serial %d", n)
			}
			writePair(t, cert, key, 2)
			c.signal(t, syscall.SIGHUP)
			c.stderr.awaitText(t, "certificate reloaded")
			if n := shownSerial(t, at.Listen); n != 2 {
				t.Errorf("serial %d after SIGHUP", n)
			}
			if err := os.WriteFile(key, []byte("junk"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.signal(t, syscall.SIGHUP)
			c.stderr.awaitText(t, "certificate not reloaded")
			if n := shownSerial(t, at.Listen); n != 2 {
				t.Errorf("serial %d after a broken pair", n)
			}
			c.signal(t, syscall.SIGTERM)
			if code := c.wait(t); code != exitOK {
				t.Errorf("ended with %d: %s", code, c.stderr)
			}
		})
	}
}

// Without TLS there is nothing that SIGHUP could ask for: it ends the process as it
// does any other.
func TestProcessHangsUpWithoutTLS(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("whoever started this ignores SIGHUP, as nohup(1) does, and so does what it starts")
	}
	c := startChild(t, append([]string{"serve", "--announce"}, anyPorts("serve")...)...)
	parseAnnouncement(t, c.line(t))
	c.signal(t, syscall.SIGHUP)
	c.wait(t)
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGHUP {
		t.Errorf("ended by %v", c.cmd.ProcessState)
	}
}

// What cannot be served is an error that names the key, with the exit code of a wrong configuration.
func TestTLSConfigurationErrors(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sets []string
		want string
	}{
		"key missing":        {[]string{"tls.certFile=a"}, "tls.certFile: needs tls.keyFile as well"},
		"certificate alone":  {[]string{"tls.keyFile=a"}, "tls.keyFile: needs tls.certFile as well"},
		"no trusted network": {[]string{"proxy.protocol=required"}, "proxy.protocol: \"required\" needs proxy.trusted"},
		"header of nobody":   {[]string{"proxy.forwarded=forwarded"}, "proxy.forwarded: \"forwarded\" needs proxy.trusted"},
		"bits":               {[]string{"proxy.trusted=10.0.0.1/8"}, `did you mean "10.0.0.0/8"?`},
		"version":            {[]string{"tls.minVersion=1.1"}, "tls.minVersion: must be 1.2 or 1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"config", "check", "gateway"}
			for _, s := range row.sets {
				args = append(args, "--set", s)
			}
			if code, _, stderr := cli(t, args...); code != exitUsage || !strings.Contains(stderr, row.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}
