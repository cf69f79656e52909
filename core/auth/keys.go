package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// key is one that tokens may be signed with. What may sign with it follows from what it is, never
// from the token (RFC 8725 section 3.1).
type key struct {
	id         string // "" where it has none
	algorithms []jose.SignatureAlgorithm
	value      any
}

// verifies tells whether a token with that header may be signed with the key.
func (k *key) verifies(h jose.Header) bool {
	return (h.KeyID == "" || k.id == "" || h.KeyID == k.id) && slices.Contains(k.algorithms, jose.SignatureAlgorithm(h.Algorithm))
}

// MinSecretBytes is the shortest secret: RFC 7518 section 3.2 asks for as many bits as the hash has.
const MinSecretBytes = 32

// minRSABits is the shortest RSA key (RFC 7518 section 3.3).
const minRSABits = 2048

// algorithmsOf lists what a key may sign with, or says what is wrong with the key.
func algorithmsOf(value any) ([]jose.SignatureAlgorithm, error) {
	switch k := value.(type) {
	case []byte:
		switch n := len(k); {
		case n < MinSecretBytes:
			return nil, fmt.Errorf("a secret of %d bytes: want at least %d", n, MinSecretBytes)
		case n < 48:
			return []jose.SignatureAlgorithm{jose.HS256}, nil
		case n < 64:
			return []jose.SignatureAlgorithm{jose.HS256, jose.HS384}, nil
		default:
			return []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}, nil
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits: want at least %d", n, minRSABits)
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
		return nil, fmt.Errorf("an ECDSA key on curve %s: want P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}, nil
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return nil, errPrivate
	default:
		return nil, fmt.Errorf("a key of type %T: want RSA, ECDSA or Ed25519", value)
	}
}

var errPrivate = errors.New("a private key: a gateway needs the public one, and whoever has the private one can sign tokens")

// readSecret reads a file with a secret for HS256, HS384 and HS512. Of a secret that is text the line end behind it
// is no part; other bytes are taken as they are.
func readSecret(name string) (key, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return key{}, err
	}
	secret := bytes.TrimRight(data, "\r\n")
	if !utf8.Valid(secret) || bytes.ContainsFunc(secret, unicode.IsControl) {
		secret = data
	}
	algorithms, err := algorithmsOf(secret)
	if err != nil {
		return key{}, fmt.Errorf("%s holds %w", name, err)
	}
	return key{algorithms: algorithms, value: secret}, nil
}

// readKeys reads a file with public keys: a JSON Web Key Set (RFC 7517 section 5), one JSON Web Key, or PEM
// with public keys or certificates. skipped are keys of a set that cannot sign tokens here, with the reason.
func readKeys(name string) (keys []key, skipped []string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		keys, skipped, err = parseSet(trimmed)
	} else {
		keys, err = parsePEM(data)
	}
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	case len(keys) == 0 && len(skipped) > 0:
		return nil, nil, fmt.Errorf("%s holds no key that can sign tokens: %s", name, strings.Join(skipped, "; "))
	case len(keys) == 0:
		return nil, nil, fmt.Errorf("%s holds no key: want a JSON Web Key Set or PEM", name)
	}
	return keys, skipped, nil
}

// parseSet reads a JSON Web Key Set or one key. Members of a set that this package has no use for are
// skipped, as RFC 7517 section 5 asks: sets of identity providers hold keys for other purposes.
func parseSet(data []byte) (keys []key, skipped []string, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Type string            `json:"kty"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, err
	}
	if set.Type != "" {
		set.Keys = []json.RawMessage{data}
	}
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		switch {
		case errors.Is(err, errPrivate):
			return nil, nil, fmt.Errorf("keys[%d] is %w", i, err)
		case err != nil:
			skipped = append(skipped, fmt.Sprintf("keys[%d]: %v", i, err))
		default:
			keys = append(keys, k)
		}
	}
	return keys, skipped, nil
}

func parseKey(raw []byte) (key, error) {
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(raw); err != nil {
		return key{}, err
	}
	if k.Use != "" && k.Use != "sig" {
		return key{}, fmt.Errorf("it is for %q, not for signatures", k.Use)
	}
	algorithms, err := algorithmsOf(k.Key)
	if err != nil {
		return key{}, err
	}
	if k.Algorithm != "" {
		only := jose.SignatureAlgorithm(k.Algorithm)
		if !slices.Contains(algorithms, only) {
			return key{}, fmt.Errorf("it is for %s, which such a key does not do", k.Algorithm)
		}
		algorithms = []jose.SignatureAlgorithm{only}
	}
	return key{id: k.KeyID, algorithms: algorithms, value: k.Key}, nil
}

func parsePEM(data []byte) (keys []key, err error) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	for n := 1; ; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			if n-1 < begun { // pem.Decode passes over what it cannot read
				return nil, fmt.Errorf("%d of %d PEM blocks cannot be read", begun-n+1, begun)
			}
			return keys, nil
		}
		k, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d, %s: %w", n, block.Type, err)
		}
		keys = append(keys, k)
	}
}

func parseBlock(block *pem.Block) (key, error) {
	var value any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		value, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		value, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			value = c.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		err = errPrivate
	default:
		err = errors.New("want PUBLIC KEY or CERTIFICATE")
	}
	if err != nil {
		return key{}, err
	}
	algorithms, err := algorithmsOf(value)
	return key{algorithms: algorithms, value: value}, err
}
