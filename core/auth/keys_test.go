package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"firetower/core/auth"
)

// pair is a private key and its public half.
type pair struct {
	name    string
	private crypto.Signer
}

func pairs(t testing.TB) []pair {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out := []pair{{"RSA", rsaKey}, {"Ed25519", ed}}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pair{curve.Params().Name, k})
	}
	return out
}

func publicPEM(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func privatePEM(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func signingKey(t testing.TB, k crypto.Signer) auth.SigningKey {
	t.Helper()
	out, err := auth.ReadSigningKey(file(t, "private.pem", privatePEM(t, k)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// set is a JSON Web Key Set of public keys.
func set(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublicKeys(t *testing.T) {
	all := pairs(t)
	var everyPEM []byte
	var everySet []jose.JSONWebKey
	for _, p := range all {
		everyPEM = append(everyPEM, publicPEM(t, p.private)...)
		everySet = append(everySet, jose.JSONWebKey{Key: p.private.Public(), KeyID: p.name, Use: "sig"})
	}
	forms := map[string][]byte{"PEM": everyPEM, "a set": set(t, everySet...)}
	for form, data := range forms {
		v, err := auth.New(auth.Options{KeysFile: file(t, "keys", data)})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range all {
			k := signingKey(t, p.private)
			token, err := auth.Token{User: p.name}.Sign(k, p.name)
			if err != nil {
				t.Fatal(err)
			}
			if who, err := v.Authenticate(request(token)); err != nil || who.UserID != p.name {
				t.Errorf("%s, %s: %+v, %v", form, p.name, who, err)
			}
			// Without a name every key that could have signed it is tried.
			if _, err := v.Authenticate(request(signed(t, k, auth.Token{}))); err != nil {
				t.Errorf("%s, %s without a name: %v", form, p.name, err)
			}
			if form != "a set" {
				continue
			}
			token, err = auth.Token{}.Sign(k, all[(i+1)%len(all)].name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Authenticate(request(token)); reason(err) != "token is signed with an unknown key" {
				t.Errorf("%s under another's name: %v", p.name, err)
			}
		}
	}
}

// A public key is no secret: a token signed with its text as one is not taken (RFC 8725 section 2.1).
func TestAlgorithmIsTheKeysNotTheTokens(t *testing.T) {
	public := publicPEM(t, pairs(t)[0].private)
	v, err := auth.New(auth.Options{KeysFile: file(t, "keys.pem", public), SecretFile: file(t, "secret", []byte(secret))})
	if err != nil {
		t.Fatal(err)
	}
	for _, confused := range [][]byte{public, []byte(strings.TrimSpace(string(public)))} {
		token := rawWith(t, confused, `{"sub":"ann"}`)
		if _, err := v.Authenticate(request(token)); reason(err) != "token's signature is wrong" {
			t.Error(err)
		}
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	all := pairs(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	private, err := jose.JSONWebKey{Key: all[1].private, KeyID: "x"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, data, want string }{
		{"empty", "", "holds no key: want a JSON Web Key Set or PEM"},
		{"text", "hello", "holds no key: want a JSON Web Key Set or PEM"},
		{"broken JSON", `{"keys":[`, "unexpected end of JSON input"},
		{"a private key in PEM", string(privatePEM(t, all[2].private)), "PEM block 1, PRIVATE KEY: a private key"},
		{"a private key in a set", `{"keys":[` + string(private) + `]}`, "keys[0] is a private key"},
		{"a short RSA key", string(publicPEM(t, weak)), "an RSA key of 1024 bits: want at least 2048"},
		{"a short secret in a set", `{"kty":"oct","k":"c2hvcnQ"}`, "a secret of 5 bytes: want at least 32"},
		{"for encryption", string(set(t, jose.JSONWebKey{Key: all[0].private.Public(), Use: "enc"})), `it is for "enc", not for signatures`},
		{"of another algorithm", string(set(t, jose.JSONWebKey{Key: all[0].private.Public(), Algorithm: "ES256"})), "it is for ES256, which such a key does not do"},
		{"of a kind that nobody knows", `{"keys":[{"kty":"magic"}]}`, "holds no key that can sign tokens: keys[0]: "},
		{"damaged PEM", string(publicPEM(t, all[1].private)) + strings.Replace(string(publicPEM(t, all[2].private)), "M", "!", 1), "1 of 2 PEM blocks cannot be read"},
		{"broken PEM", "-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n", "PEM block 1, PUBLIC KEY: "},
		{"another PEM", "-----BEGIN X-----\naGVsbG8=\n-----END X-----\n", "PEM block 1, X: want PUBLIC KEY or CERTIFICATE"},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := file(t, "keys", []byte(row.data))
			_, err := auth.New(auth.Options{KeysFile: name})
			if err == nil || !strings.HasPrefix(err.Error(), "auth.keysFile: "+name) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
	// A set may hold what is of no use here beside what is.
	v, err := auth.New(auth.Options{KeysFile: file(t, "keys", []byte(
		`{"keys":[{"kty":"magic"},`+strings.TrimSuffix(strings.TrimPrefix(string(set(t, jose.JSONWebKey{Key: all[1].private.Public()})), `{"keys":[`), `]}`)+`]}`))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Authenticate(request(signed(t, signingKey(t, all[1].private), auth.Token{}))); err != nil {
		t.Error(err)
	}

	for _, row := range []struct {
		o    auth.Options
		want string
	}{
		{auth.Options{}, "auth.secretFile or auth.keysFile: one must be set"},
		{auth.Options{SecretFile: file(t, "s", []byte("short"))}, "a secret of 5 bytes: want at least 32"},
		{auth.Options{SecretFile: filepath.Join(t.TempDir(), "none")}, "auth.secretFile: open "},
		{auth.Options{KeysFile: filepath.Join(t.TempDir(), "none")}, "auth.keysFile: open "},
		{auth.Options{KeysFile: "k", Subscribe: []string{"a b"}}, `auth.subscribe: topic pattern "a b": `},
		{auth.Options{KeysFile: "k", Publish: []string{""}}, `auth.publish: topic pattern "": `},
		{auth.Options{KeysFile: "k", Subscribe: []string{"room.{user}*"}}, `auth.subscribe: topic pattern "room.{user}*": with {user} before the star`},
		{auth.Options{KeysFile: "k", Publish: []string{"{user}s"}}, `auth.publish: topic pattern "{user}s": 's' stands behind {user}`},
		{auth.Options{KeysFile: "k", Publish: []string{"u{user}"}, Subscribe: []string{"ux{user}"}}, `auth.subscribe: topic pattern "ux{user}": 'x' stands before {user}`},
		{auth.Options{KeysFile: "k", Publish: []string{"{user}{user}"}}, `auth.publish: topic pattern "{user}{user}": '{' stands behind {user}`},
		{auth.Options{KeysFile: "k", ReloadInterval: -1}, "auth.reloadInterval: must be >= 0s"},
	} {
		if _, err := auth.New(row.o); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.o, err, row.want)
		}
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	name := file(t, "secret", []byte(secret))
	now := time.Now()
	v, err := auth.New(auth.Options{SecretFile: name, ReloadInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	auth.SetClock(v, func() time.Time { return now })
	next := strings.ToUpper(secret)
	before, after := signed(t, secretKey(t, secret), auth.Token{}), signed(t, secretKey(t, next), auth.Token{})
	check := func(when string, beforeOK, afterOK bool) {
		t.Helper()
		_, errBefore := v.Authenticate(request(before))
		_, errAfter := v.Authenticate(request(after))
		if (errBefore == nil) != beforeOK || (errAfter == nil) != afterOK {
			t.Errorf("%s: %v and %v", when, errBefore, errAfter)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("at first", true, false)
	write(next + "\n")
	check("a moment after the last look", true, false)
	now = now.Add(time.Second)
	if _, err := v.Authenticate(request(before)); err != nil {
		t.Errorf("a key that is there: %v", err)
	}
	check("a key that is not there", true, true) // in this order
	check("and after it", false, true)
	write(secret)
	now = now.Add(time.Minute)
	check("after the interval", true, false)
	write(next + "\n")
	now = now.Add(time.Minute)
	check("and again", false, true)
	write("short")
	now = now.Add(time.Minute)
	check("a broken file leaves the key before", false, true)
	if err := v.Reload(); err == nil {
		t.Error("a broken file is no error")
	}
	write(secret)
	if err := v.Reload(); err != nil {
		t.Fatal(err)
	}
	check("after Reload", true, false)
}

func TestOlderFormsOfKeys(t *testing.T) {
	all := pairs(t)
	rsaKey, ok := all[0].private.(*rsa.PrivateKey)
	ecKey, ok2 := all[2].private.(*ecdsa.PrivateKey)
	if !ok || !ok2 {
		t.Fatalf("%T and %T", all[0].private, all[2].private)
	}
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}) }
	for _, row := range []struct {
		name            string
		private, public []byte
	}{
		{"PKCS 1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey))},
		{"SEC 1", append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", ecDER)...), publicPEM(t, ecKey)},
	} {
		k, err := auth.ReadSigningKey(file(t, "k", row.private))
		if err != nil {
			t.Fatal(err)
		}
		v, err := auth.New(auth.Options{KeysFile: file(t, "p", row.public)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Authenticate(request(signed(t, k, auth.Token{}))); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// A secret in text has no line end, and one of bytes is what it is.
func TestSecretsAreTakenAsTheyAre(t *testing.T) {
	binary := append(make([]byte, 31), '\n')
	for _, row := range []struct {
		file, secret string
	}{
		{secret, secret},
		{secret + "\n", secret},
		{secret + "\r\n", secret},
		{"é" + secret + "\n\n", "é" + secret},
		{"\xff" + secret + "\n", "\xff" + secret + "\n"},
		{string(binary), string(binary)},
	} {
		v, err := auth.New(auth.Options{SecretFile: file(t, "s", []byte(row.file))})
		if err != nil {
			t.Fatal(err)
		}
		token := rawWith(t, []byte(row.secret), `{}`)
		if _, err := v.Authenticate(request(token)); err != nil {
			t.Errorf("%q: %v", row.file, err)
		}
	}
}

// At a change of keys nobody is refused whose key is in the file, however many come at once.
func TestAllSeeANewKey(t *testing.T) {
	for range 20 {
		name := file(t, "secret", []byte(secret))
		v, err := auth.New(auth.Options{SecretFile: name, ReloadInterval: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(2 * time.Minute)
		next := strings.ToUpper(secret)
		token := signed(t, secretKey(t, next), auth.Token{})
		if err := os.WriteFile(name, []byte(next+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		auth.SetNow(v, func() time.Time { return later })
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := v.Authenticate(request(token)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func TestSigningKeysThatAreRefused(t *testing.T) {
	if _, err := auth.ReadSigningKey(file(t, "k", publicPEM(t, pairs(t)[1].private))); err == nil || !strings.Contains(err.Error(), "holds no private key") {
		t.Error(err)
	}
	if _, err := auth.ReadSigningKey(file(t, "k", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))); err == nil || !strings.Contains(err.Error(), "is the key encrypted?") {
		t.Error(err)
	}
	if _, err := auth.ReadSigningSecret(file(t, "k", []byte("short"))); err == nil {
		t.Error("a short secret signs")
	}
	if _, err := (auth.Token{}).Sign(auth.SigningKey{}, ""); err == nil {
		t.Error("no key signs")
	}
}
