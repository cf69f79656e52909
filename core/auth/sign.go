package auth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Token is what a token shall say. What is zero it does not say.
type Token struct {
	// User is the claim sub.
	User string
	// Permissions are the topics; nil lists leave them to the gateway.
	Permissions Permissions
	// Issuer and Audience are the claims iss and aud.
	Issuer, Audience string
	// IssuedAt and Expires are the claims iat and exp, in whole seconds.
	IssuedAt, Expires time.Time
}

// SigningKey is what tokens are signed with.
type SigningKey struct {
	algorithm jose.SignatureAlgorithm
	value     any
}

// ReadSigningSecret reads the file of a secret, for HS256.
func ReadSigningSecret(name string) (SigningKey, error) {
	k, err := readSecret(name)
	if err != nil {
		return SigningKey{}, err
	}
	return SigningKey{algorithm: k.algorithms[0], value: k.value}, nil
}

// ReadSigningKey reads a private key in PEM: RSA for RS256, ECDSA for the algorithm of its curve, or
// Ed25519 for EdDSA.
func ReadSigningKey(name string) (SigningKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return SigningKey{}, err
	}
	for block, rest := pem.Decode(bytes.TrimSpace(data)); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // openssl writes EC PARAMETERS before the key
		}
		k, err := parsePrivate(block)
		if err != nil {
			return SigningKey{}, fmt.Errorf("%s: %w", name, err)
		}
		return k, nil
	}
	return SigningKey{}, fmt.Errorf("%s holds no private key in PEM", name)
}

func parsePrivate(block *pem.Block) (SigningKey, error) {
	var value any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		value, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		value, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		value, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		err = fmt.Errorf("a PEM block %s cannot be read: is the key encrypted?", block.Type)
	}
	if err != nil {
		return SigningKey{}, err
	}
	signer, ok := value.(crypto.Signer)
	if !ok {
		return SigningKey{}, fmt.Errorf("a key of type %T: want RSA, ECDSA or Ed25519", value)
	}
	algorithms, err := algorithmsOf(signer.Public())
	if err != nil {
		return SigningKey{}, err
	}
	return SigningKey{algorithm: algorithms[0], value: value}, nil
}

// Sign makes the token. keyID is what a JSON Web Key Set calls the key; empty says nothing.
func (t Token) Sign(k SigningKey, keyID string) (string, error) {
	if k.value == nil {
		return "", errors.New("auth: sign: no key")
	}
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if keyID != "" {
		opts = opts.WithHeader("kid", keyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: k.value}, opts)
	if err != nil {
		return "", fmt.Errorf("auth: sign: %w", err)
	}
	c := jwt.Claims{Issuer: t.Issuer, Subject: t.User}
	if t.Audience != "" {
		c.Audience = jwt.Audience{t.Audience}
	}
	if !t.IssuedAt.IsZero() {
		c.IssuedAt = jwt.NewNumericDate(t.IssuedAt)
	}
	if !t.Expires.IsZero() {
		c.Expiry = jwt.NewNumericDate(t.Expires)
	}
	b := jwt.Signed(signer).Claims(c)
	if t.Permissions.Subscribe != nil || t.Permissions.Publish != nil {
		b = b.Claims(map[string]any{"firetower": t.Permissions.members()})
	}
	return b.Serialize()
}

// members are the lists that are there, an empty one too.
func (p Permissions) members() map[string][]string {
	m := map[string][]string{}
	if p.Subscribe != nil {
		m["subscribe"] = p.Subscribe
	}
	if p.Publish != nil {
		m["publish"] = p.Publish
	}
	return m
}
