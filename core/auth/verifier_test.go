package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"firetower/core/auth"
	"firetower/core/gateway"
)

const secret = "0123456789abcdef0123456789abcdef"

// file writes a file and returns its name.
func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verifier makes one that goes by the secret.
func verifier(t testing.TB, change func(*auth.Options)) *auth.Verifier {
	t.Helper()
	o := auth.Options{SecretFile: file(t, "secret", []byte(secret+"\n"))}
	if change != nil {
		change(&o)
	}
	v, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func secretKey(t testing.TB, secret string) auth.SigningKey {
	t.Helper()
	k, err := auth.ReadSigningSecret(file(t, "secret", []byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t testing.TB, k auth.SigningKey, token auth.Token) string {
	t.Helper()
	text, err := token.Sign(k, "")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw makes a token by hand, whatever its header and claims say, signed with the secret.
func raw(t testing.TB, claims string) string {
	t.Helper()
	return rawWith(t, []byte(secret), claims)
}

// rawWith is raw with another secret.
func rawWith(t testing.TB, secret []byte, claims string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// reason is what a client is told of an error.
func reason(err error) string {
	var known *gateway.AuthenticationError
	if err == nil {
		return ""
	}
	if !errors.As(err, &known) {
		return "not an AuthenticationError: " + err.Error()
	}
	return known.Reason
}

func TestTokenSaysWhoAndWhat(t *testing.T) {
	v := verifier(t, func(o *auth.Options) {
		o.Subscribe, o.Publish = []string{"user.{user}", "news"}, []string{"chat.*"}
	})
	k := secretKey(t, secret)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, row := range []struct {
		name                     string
		token                    auth.Token
		user, subscribe, publish string
		expires                  time.Time
	}{
		{"of the configuration", auth.Token{User: "ann"}, "ann", "[user.ann news]", "[chat.*]", time.Time{}},
		{"of the token", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a", "b.*"}, Publish: []string{"c"}}}, "ann", "[a b.*]", "[c]", time.Time{}},
		{"one of each", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a"}}}, "ann", "[a]", "[chat.*]", time.Time{}},
		{"empty lists allow nothing", auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{}, Publish: []string{}}}, "ann", "[]", "[]", time.Time{}},
		{"nobody has no topic of a user", auth.Token{}, "", "[news]", "[chat.*]", time.Time{}},
		{"a star in a name is a star", auth.Token{User: "*"}, "*", "[user.* news]", "[chat.*]", time.Time{}},
		{"a name that looks like the place of one", auth.Token{User: "{user}"}, "{user}", "[user.{user} news]", "[chat.*]", time.Time{}},
		{"with an end", auth.Token{User: "ann", Expires: end}, "ann", "[user.ann news]", "[chat.*]", end.Add(auth.Leeway)},
	} {
		t.Run(row.name, func(t *testing.T) {
			who, err := v.Authenticate(request(signed(t, k, row.token)))
			if err != nil {
				t.Fatal(err)
			}
			if who.UserID != row.user || fmt.Sprint(who.Access.Subscribe) != row.subscribe || fmt.Sprint(who.Access.Publish) != row.publish ||
				!who.Access.Expires.Equal(row.expires) {
				t.Errorf("%q may subscribe to %v and publish to %v until %v", who.UserID, who.Access.Subscribe, who.Access.Publish, who.Access.Expires)
			}
			if row.user == "*" && who.Access.Subscribe[0].Prefix {
				t.Error("a name has made a prefix of a pattern")
			}
		})
	}
}

// Nobody gets a topic of somebody else by a name that holds what separates names in patterns.
func TestNamesWithSeparators(t *testing.T) {
	k := secretKey(t, secret)
	for _, row := range []struct {
		patterns  []string
		user      string
		subscribe string
	}{
		{[]string{"user.{user}.*"}, "ann", "[user.ann.*]"},
		{[]string{"user.{user}.*", "news"}, "ann.x", "[news]"},
		{[]string{"user/{user}/*"}, "a@b.co", "[user/a@b.co/*]"},
		{[]string{"user/{user}/*"}, "a/b", "[]"},
		{[]string{"user.{user}", "user.{user}.inbox"}, "ann.inbox", "[]"},
		{[]string{"user-{user}"}, "6f9619ff-8b86", "[user-6f9619ff-8b86]"},
		{[]string{"{user}|{user}"}, "a|a", "[]"},
		{[]string{"user.{user}", "user.inbox.{user}"}, "inbox.ann", "[]"},
		{[]string{"user.{user}", "user.inbox.{user}"}, "inbox-ann", "[user.inbox-ann user.inbox.inbox-ann]"},
		{[]string{"user.{user}", "group/{user}"}, "a.b/c", "[user.a.b/c group/a.b/c]"},
	} {
		v := verifier(t, func(o *auth.Options) { o.Subscribe = row.patterns })
		who, err := v.Authenticate(request(signed(t, k, auth.Token{User: row.user})))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(who.Access.Subscribe); got != row.subscribe || who.UserID != row.user {
			t.Errorf("%v for %q: %s, want %s", row.patterns, row.user, got, row.subscribe)
		}
	}
	// A separator of what may be published holds for what may be subscribed to, and the token's own patterns go by no name.
	v := verifier(t, func(o *auth.Options) { o.Subscribe, o.Publish = []string{"user.{user}"}, []string{"out.{user}.x"} })
	who, err := v.Authenticate(request(signed(t, k, auth.Token{User: "a.b", Permissions: auth.Permissions{Publish: []string{"p.{user}"}}})))
	if err != nil || len(who.Access.Subscribe) != 0 || fmt.Sprint(who.Access.Publish) != "[p.{user}]" {
		t.Errorf("%+v, %v", who.Access, err)
	}
}

func TestTokensThatAreRejected(t *testing.T) {
	registry := prometheus.NewRegistry()
	v := verifier(t, func(o *auth.Options) { o.Issuer, o.Audience, o.Registry = "https://id.example", "push", registry })
	k, now := secretKey(t, secret), time.Now()
	good := auth.Token{User: "ann", Issuer: "https://id.example", Audience: "push", IssuedAt: now, Expires: now.Add(time.Hour)}
	with := func(change func(*auth.Token)) string {
		token := good
		change(&token)
		return signed(t, k, token)
	}
	if _, err := v.Authenticate(request(signed(t, k, good))); err != nil {
		t.Fatal(err)
	}
	whole := signed(t, k, good)
	parts := strings.Split(whole, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	named, err := good.Sign(k, "another")
	if err != nil {
		t.Fatal(err)
	}
	const claims = `{"iss":"https://id.example","aud":"push"`
	for _, row := range []struct {
		name, token, reason string
	}{
		{"no token", "", "no token"},
		{"no JWT", "hello", "token is malformed"},
		{"cut", whole[:len(whole)-3], "token's signature is wrong"},
		{"another's claims", parts[0] + "." + encode(claims+`,"sub":"bob"}`) + "." + parts[2], "token's signature is wrong"},
		{"another secret", signed(t, secretKey(t, strings.ToUpper(secret)), good), "token's signature is wrong"},
		{"algorithm none", encode(`{"alg":"none"}`) + "." + parts[1] + ".", "token is malformed"},
		{"algorithm none with a signature", encode(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "token is malformed"},
		{"an algorithm that no key is for", encode(`{"alg":"RS256"}`) + "." + parts[1] + "." + parts[2], "token is malformed"},
		{"a critical header", encode(`{"alg":"HS256","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2], "token's claims are malformed"},
		{"expired", with(func(t *auth.Token) { t.Expires = now.Add(-auth.Leeway - 2*time.Second) }), "token has expired"},
		{"from the future", with(func(t *auth.Token) { t.IssuedAt = now.Add(auth.Leeway + time.Minute) }), "token is not valid yet"},
		{"not before", raw(t, fmt.Sprintf(`%s,"nbf":%d}`, claims, now.Add(time.Hour).Unix())), "token is not valid yet"},
		{"no issuer", with(func(t *auth.Token) { t.Issuer = "" }), "token is from another issuer"},
		{"another issuer", with(func(t *auth.Token) { t.Issuer = "https://id.example/" }), "token is from another issuer"},
		{"no audience", with(func(t *auth.Token) { t.Audience = "" }), "token is for another audience"},
		{"another audience", with(func(t *auth.Token) { t.Audience = "Push" }), "token is for another audience"},
		{"sub is a number", raw(t, claims+`,"sub":1}`), "token's claims are malformed"},
		{"exp is text", raw(t, claims+`,"exp":"soon"}`), "token's claims are malformed"},
		{"claims are a list", raw(t, `[]`), "token's claims are malformed"},
		{"claims are no JSON", raw(t, `hello`), "token's claims are malformed"},
		{"firetower is text", raw(t, claims+`,"firetower":"*"}`), "token's claims are malformed"},
		{"patterns are text", raw(t, claims+`,"firetower":{"subscribe":"*"}}`), "token's claims are malformed"},
		{"no pattern", raw(t, claims+`,"firetower":{"publish":["a b"]}}`), "token's claims are malformed"},
		{"an empty pattern", raw(t, claims+`,"firetower":{"subscribe":[""]}}`), "token's claims are malformed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			who, err := v.Authenticate(request(row.token))
			if got := reason(err); got != row.reason || who.Access != nil || who.UserID != "" {
				t.Errorf("%q (%v), want %q; identity %+v", got, err, row.reason, who)
			}
		})
	}
	// Without keys that have names a name says nothing.
	if _, err := v.Authenticate(request(named)); err != nil {
		t.Errorf("a token that names a key: %v", err)
	}
	if n, err := testutil.GatherAndCount(registry, "firetower_gateway_tokens_rejected_total"); err != nil || n != 10 {
		t.Errorf("%d series, %v", n, err)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP firetower_gateway_tokens_rejected_total Tokens that were not taken, by reason.
# TYPE firetower_gateway_tokens_rejected_total counter
firetower_gateway_tokens_rejected_total{reason="audience"} 2
firetower_gateway_tokens_rejected_total{reason="claims"} 9
firetower_gateway_tokens_rejected_total{reason="expired"} 1
firetower_gateway_tokens_rejected_total{reason="issuer"} 2
firetower_gateway_tokens_rejected_total{reason="malformed"} 4
firetower_gateway_tokens_rejected_total{reason="missing"} 1
firetower_gateway_tokens_rejected_total{reason="not_yet_valid"} 2
firetower_gateway_tokens_rejected_total{reason="other_user"} 0
firetower_gateway_tokens_rejected_total{reason="signature"} 3
firetower_gateway_tokens_rejected_total{reason="unknown_key"} 0
`)); err != nil {
		t.Error(err)
	}
}

func TestClocksMayDiffer(t *testing.T) {
	v, k, now := verifier(t, nil), secretKey(t, secret), time.Now()
	for _, token := range []auth.Token{
		{Expires: now.Add(-auth.Leeway / 2)},
		{IssuedAt: now.Add(auth.Leeway / 2), Expires: now.Add(time.Hour)},
	} {
		who, err := v.Authenticate(request(signed(t, k, token)))
		if err != nil {
			t.Errorf("%+v: %v", token, err)
		} else if !who.Access.Expires.After(now) {
			t.Errorf("let in until %v, which is over", who.Access.Expires)
		}
	}
}

func TestWhereATokenMayStand(t *testing.T) {
	v := verifier(t, func(o *auth.Options) { o.Cookie = "session" })
	token := signed(t, secretKey(t, secret), auth.Token{User: "ann"})
	for _, row := range []struct {
		name, user, reason string
		change             func(*http.Request)
	}{
		{"header", "ann", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }},
		{"header in other letters", "ann", "", func(r *http.Request) { r.Header.Set("Authorization", "bearer  "+token) }},
		{"parameter", "ann", "", func(r *http.Request) { r.URL.RawQuery = "x=1&token=" + token }},
		{"cookie", "ann", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: token}) }},
		{"another cookie", "", "no token", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "token", Value: token}) }},
		{"another scheme", "", "no token", func(r *http.Request) { r.Header.Set("Authorization", "Basic "+token) }},
		{"another scheme beside a parameter", "ann", "", func(r *http.Request) {
			r.Header.Set("Authorization", "Basic eA==")
			r.URL.RawQuery = "token=" + token
		}},
		{"the header counts first", "", "token is malformed", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
			r.URL.RawQuery = "token=" + token
		}},
		{"empty header", "", "token is malformed", func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }},
		{"empty parameter", "", "token is malformed", func(r *http.Request) { r.URL.RawQuery = "token=" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := request("")
			row.change(r)
			who, err := v.Authenticate(r)
			if who.UserID != row.user || reason(err) != row.reason {
				t.Errorf("%q, %v", who.UserID, err)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	v := verifier(t, func(o *auth.Options) {
		o.Anonymous, o.Subscribe, o.Publish = true, []string{"news", "user.{user}"}, nil
	})
	who, err := v.Authenticate(request(""))
	if err != nil || who.UserID != "" || fmt.Sprint(who.Access.Subscribe) != "[news]" || len(who.Access.Publish) != 0 {
		t.Errorf("%+v, %v", who.Access, err)
	}
	// A token that is there has to be good.
	if _, err := v.Authenticate(request("x")); reason(err) != "token is malformed" {
		t.Error(err)
	}
}

func TestRefreshIsForTheSameUser(t *testing.T) {
	v, k := verifier(t, nil), secretKey(t, secret)
	token := signed(t, k, auth.Token{User: "ann", Permissions: auth.Permissions{Subscribe: []string{"a"}}})
	access, err := v.RefreshUser("ann", token)
	if err != nil || fmt.Sprint(access.Subscribe) != "[a]" {
		t.Errorf("%+v, %v", access, err)
	}
	for _, user := range []string{"bob", "", "Ann"} {
		if access, err := v.RefreshUser(user, token); access != nil || reason(err) != "token is another user's" {
			t.Errorf("%q: %+v, %v", user, access, err)
		}
	}
	if _, err := v.RefreshUser("ann", "x"); reason(err) != "token is malformed" {
		t.Error(err)
	}
}

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

func BenchmarkAuthenticate(b *testing.B) {
	for _, p := range append(pairs(b), pair{name: "secret"}) {
		b.Run(p.name, func(b *testing.B) {
			var v *auth.Verifier
			var k auth.SigningKey
			if p.private == nil {
				v, k = verifier(b, nil), secretKey(b, secret)
			} else {
				v = verifier(b, func(o *auth.Options) { o.SecretFile, o.KeysFile = "", file(b, "k", publicPEM(b, p.private)) })
				k = signingKey(b, p.private)
			}
			r := request(signed(b, k, auth.Token{User: "ann", Expires: time.Now().Add(time.Hour)}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
