package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"firetower/core/auth"
	"firetower/core/client"
	"firetower/core/protocol"
)

const tokenSecret = "0123456789abcdef0123456789abcdef"

// tokenFiles writes a secret and a configuration that names it, and returns both names.
func tokenFiles(t *testing.T, more string) (secret, conf string) {
	t.Helper()
	dir := t.TempDir()
	secret, conf = filepath.Join(dir, "secret"), filepath.Join(dir, "fireTower.toml")
	for name, text := range map[string]string{
		secret: tokenSecret + "\n",
		conf:   "[auth]\nsecretFile = \"secret\"\nissuer = \"us\"\nreloadInterval = \"0s\"\n" + more,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return secret, conf
}

// cliOnDisk is cli with the files that there are.
func cliOnDisk(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := newProcess(args...)
	p.state.readFile = os.ReadFile
	code = p.run(t)
	return code, p.stdout.String(), p.stderr.String()
}

// token runs firetower token.
func token(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := cliOnDisk(t, append([]string{"token"}, args...)...)
	if code != exitOK {
		t.Fatalf("token: exit code %d: %s", code, stderr)
	}
	return strings.TrimSuffix(stdout, "\n")
}

// A serve that asks for tokens: who has none is told why, who has one gets what it allows, kicks find the user, and
// a new secret is in force at SIGHUP.
func TestProcessAsksForTokens(t *testing.T) {
	t.Parallel()
	secret, conf := tokenFiles(t, "subscribe = [\"user.{user}\"]\n")
	serve := startChild(t, append([]string{"serve", "--announce", "--config", conf}, anyPorts("serve")...)...)
	at := parseAnnouncement(t, serve.line(t))
	url := "ws://" + at.Listen + "/ws"
	subscribe := func(token string, topics ...string) []string {
		return append([]string{"subscribe", "--url", url, "--header", "Authorization: Bearer " + token}, topics...)
	}

	code, _, stderr := cliOnDisk(t, "subscribe", "user.ann", "--url", url)
	if code == exitOK || !strings.Contains(stderr, "HTTP status 401: not authenticated: no token\n") || !strings.Contains(stderr, "'firetower token' makes one") {
		t.Errorf("without a token: %d %s", code, stderr)
	}
	ann := token(t, "--user", "ann", "--config", conf)
	code, _, stderr = cliOnDisk(t, subscribe(ann, "user.bob")...)
	if code == exitOK || !strings.Contains(stderr, "forbidden") || !strings.Contains(stderr, "This client may not subscribe to it: see its token, and the gateway's auth.subscribe.") {
		t.Errorf("another's topic: %d %s", code, stderr)
	}
	sub := startChild(t, subscribe(ann, "user.ann")...)
	awaitSubscribers(t, at.GRPC, "user.ann", 1)
	if code, _, stderr := cliOnDisk(t, "publish", "user.ann", `"hi"`, "--manager-grpc", at.GRPC); code != exitOK {
		t.Errorf("publish: %s", stderr)
	}
	if line := sub.line(t); line != "\"hi\"\n" {
		t.Errorf("subscribe printed %q", line)
	}
	if code, _, stderr := cliOnDisk(t, "kick", "--user", "ann", "--manager-grpc", at.GRPC); code != exitOK {
		t.Errorf("kick: %s", stderr)
	}
	if code := sub.wait(t); code == exitOK || !strings.Contains(sub.stderr.String(), "4001") {
		t.Errorf("after the kick: %d %s", code, sub.stderr)
	}

	if err := os.WriteFile(secret, []byte(strings.ToUpper(tokenSecret)), 0o600); err != nil {
		t.Fatal(err)
	}
	serve.signal(t, syscall.SIGHUP)
	serve.stderr.awaitText(t, "keys of tokens reloaded")
	code, _, stderr = cliOnDisk(t, subscribe(ann, "user.ann")...)
	if code == exitOK || !strings.Contains(stderr, "HTTP status 401") {
		t.Errorf("with a token of the secret before: %d %s", code, stderr)
	}
	sub = startChild(t, subscribe(token(t, "--user", "ann", "--config", conf, "--subscribe", "news", "--publish", "x"), "news")...)
	awaitSubscribers(t, at.GRPC, "news", 1)
	_, metrics := get(t, "http://"+at.HTTP+"/metrics")
	for _, want := range []string{
		`firetower_gateway_tokens_rejected_total{reason="missing"} 1`, `firetower_gateway_tokens_rejected_total{reason="signature"} 1`,
		"firetower_gateway_forbidden_subscribes_total 1", `firetower_gateway_disconnects_total{reason="kicked"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics has no %q", want)
		}
	}
	sub.signal(t, syscall.SIGTERM)
	if code := sub.wait(t); code != exitOK {
		t.Errorf("subscribe ended with %d: %s", code, sub.stderr)
	}
	serve.signal(t, syscall.SIGTERM)
	if code := serve.wait(t); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, serve.stderr)
	}
}

// The Go client's tokens are renewed over the connection, and allow what they allow from then on.
func TestTokensAreRenewed(t *testing.T) {
	t.Parallel()
	secret, conf := tokenFiles(t, "")
	key, err := auth.ReadSigningSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(append([]string{"serve", "--config", conf}, anyPorts("serve")...)...)
	p.state.readFile = os.ReadFile
	at := startService(t, p)
	var calls atomic.Int64
	o := client.DefaultOptions()
	o.URL = "ws://" + at.Listen + "/ws"
	o.Token = func(context.Context) (string, error) {
		token := auth.Token{User: "ann", Issuer: "us", IssuedAt: time.Now(), Expires: time.Now().Add(2 * time.Second), Permissions: auth.Permissions{Subscribe: []string{"a"}}}
		if calls.Add(1) > 1 {
			token.Expires = token.Expires.Add(time.Hour)
			token.Permissions.Subscribe = []string{"a", "b"}
		}
		return token.Sign(key, "")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nothing := func(client.Message) {}
	if err := c.Subscribe(ctx, "a", nothing); err != nil {
		t.Fatal(err)
	}
	var refused *client.RequestError
	if err := c.Subscribe(ctx, "b", nothing); !errors.As(err, &refused) || refused.Code != protocol.CodeForbidden {
		t.Errorf("before the renewal: %v", err)
	}
	for err = errors.New("not yet"); err != nil; pause() {
		if err = c.Subscribe(ctx, "b", nothing); ctx.Err() != nil {
			t.Fatalf("after the renewal: %v", err)
		}
	}
	if s := c.Stats(); s.Reconnects != 0 || calls.Load() != 2 {
		t.Errorf("%d reconnects, %d tokens", s.Reconnects, calls.Load())
	}
	awaitSubscribers(t, at.GRPC, "a", 1)
}

// The private key signs; the gateway has the public one, by name or of a certificate.
func TestTokenOfAPrivateKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	private, public, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "keys.json"), filepath.Join(dir, "cert.pem")
	writePair(t, cert, private, 1) // ECDSA, P-256, and a certificate of it
	text := token(t, "--user", "ann", "--key-file", private, "--key-id", "k1", "--subscribe", "*")
	data, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: parsed.PublicKey, KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(public, set, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{public, cert} {
		v, err := auth.New(auth.Options{KeysFile: keys})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/ws?token="+text, nil)
		if who, err := v.Authenticate(r); err != nil || who.UserID != "ann" || len(who.Access.Subscribe) != 1 {
			t.Errorf("%s: %+v, %v", keys, who, err)
		}
	}
}

func TestServeRefusesBrokenKeys(t *testing.T) {
	t.Parallel()
	secret, conf := tokenFiles(t, "")
	if err := os.WriteFile(secret, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"serve", "gateway"} {
		code, _, stderr := cliOnDisk(t, append([]string{service, "--config", conf}, anyPorts(service)...)...)
		if code != exitUsage || !strings.Contains(stderr, "auth.secretFile: "+secret+" holds a secret of 5 bytes: want at least 32") {
			t.Errorf("%s: %d %s", service, code, stderr)
		}
	}
}

func TestConfigCheckKnowsPatternsOfUsers(t *testing.T) {
	t.Parallel()
	_, conf := tokenFiles(t, "subscribe = [\"room.{user}*\"]\n")
	code, _, stderr := cliOnDisk(t, "config", "check", "gateway", "--config", conf)
	if code != exitUsage || !strings.Contains(stderr, `auth.subscribe: topic pattern "room.{user}*": with {user} before the star`) {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestTokenUsage(t *testing.T) {
	t.Parallel()
	secret, conf := tokenFiles(t, "")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "want --secret-file, --key-file, or --config of a gateway with auth.secretFile"},
		{[]string{"--secret-file", secret, "--key-file", "k"}, "--secret-file and --key-file: only one can sign"},
		{[]string{"--secret-file", secret, "--subscribe", "a b"}, `--subscribe: topic pattern "a b"`},
		{[]string{"--secret-file", secret, "--publish", ""}, `--publish: topic pattern ""`},
		{[]string{"--secret-file", secret, "--expires", "-1s"}, "--expires -1s: must be at least 0s"},
	} {
		code, _, stderr := cliOnDisk(t, append([]string{"token"}, tt.args...)...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: %d %s", tt.args, code, stderr)
		}
	}
	code, _, stderr := cliOnDisk(t, "token", "--key-file", secret)
	if code != exitError || !strings.Contains(stderr, "holds no private key in PEM") {
		t.Errorf("%d %s", code, stderr)
	}
	if a, b := token(t, "--config", conf), token(t, "--config", conf, "--nothing-else"); a == b {
		t.Error("--nothing-else changes nothing")
	}
}
