package gateway_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

func TestTLSReload(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, p.options)
	before := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	before.subscribe("room")
	if n := p.serial(t, g); n != 1 {
		t.Fatalf("serial %d", n)
	}
	p.renew(t, 2)
	if n := p.serial(t, g); n != 1 {
		t.Fatalf("serial %d before it was reloaded", n)
	}
	if err := g.ReloadCertificate(); err != nil {
		t.Fatal(err)
	}
	if n := p.serial(t, g); n != 2 {
		t.Errorf("serial %d", n)
	}
	good, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"", "junk", string(good[:len(good)/2])} {
		put(t, p.key, []byte(broken))
		if err := g.ReloadCertificate(); err == nil || !strings.Contains(err.Error(), "tls.keyFile") {
			t.Errorf("key %.10q: err = %v", broken, err)
		}
		if n := p.serial(t, g); n != 2 {
			t.Errorf("key %.10q: serial %d", broken, n)
		}
	}
	if s := g.Stats().Edge; s.Reloads != 1 || s.FailedReloads != 3 {
		t.Errorf("%+v", s)
	}
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := before.nextReply(); string(r.Data) != "1" {
		t.Errorf("the connection of before got %+v", r)
	}
	families := gather(t, g)
	const day = 24 * 60 * 60
	if left := families["firetower_gateway_tls_certificate_expiry_timestamp_seconds"] - float64(time.Now().Unix()); left < day || left > 2*day {
		t.Errorf("expires in %v s", left)
	}
}

// A change of the files is found without being told, also when they change one after
// the other; a broken one is tried once.
func TestTLSReloadsWhenFilesChange(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.TLS.ReloadInterval = 5 * time.Millisecond
	})
	put(t, p.cert, []byte("half done"))
	eventually(t, "the broken pair is noticed", func() bool { return g.Stats().Edge.FailedReloads > 0 })
	if n := p.serial(t, g); n != 1 {
		t.Errorf("serial %d", n)
	}
	if n := g.Stats().Edge.FailedReloads; n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	p.renew(t, 2)
	eventually(t, "the new pair is in force", func() bool { return p.serial(t, g) == 2 })
}

func TestReloadWithoutTLS(t *testing.T) {
	if err := newIdle(t, gateway.DefaultOptions()).ReloadCertificate(); !errors.Is(err, gateway.ErrNoTLS) {
		t.Errorf("err = %v", err)
	}
}

func TestTLSNeedsAPairThatWorks(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	o := gateway.DefaultOptions()
	o.TLS.CertFile, o.TLS.KeyFile = p.cert, p.cert
	if _, err := gateway.New(o); err == nil || !strings.Contains(err.Error(), "tls.keyFile") {
		t.Errorf("err = %v", err)
	}
}
