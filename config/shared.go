package config

import (
	"path/filepath"
	"strings"
	"time"
)

// mergeShared makes one of what two services of a process must share: the
// stronger source wins, and two files that disagree are a problem.
func (ls *loaders) mergeShared() {
	if len(ls.active) < 2 {
		return
	}
	a, b := ls.active[0], ls.active[1]
	for _, k := range a.keys {
		other := b.find(k.path)
		if !k.shared || other == nil {
			continue
		}
		switch r, o := k.origin.Kind.rank(), other.origin.Kind.rank(); {
		case r > o:
			other.copyFrom(k)
		case r < o:
			k.copyFrom(other)
		case k.text() != other.text() && k.kind != KindFile: // of files, the contents count
			b.problemWith(k.path, "is not what %s says, and one process can have only one", k.origin)
		}
	}
}

// copyFrom takes over the value of the same key of another service.
func (k *key) copyFrom(other *key) {
	k.origin = other.origin
	switch to := k.to.(type) {
	case *bool:
		*to = *other.to.(*bool) //nolint:errcheck // the same key has the same type; a test merges every shared key
	case *int:
		*to = *other.to.(*int) //nolint:errcheck // as above
	case *string:
		*to = *other.to.(*string) //nolint:errcheck // as above
	case *time.Duration:
		*to = *other.to.(*time.Duration) //nolint:errcheck // as above
	default:
		panic("config: key " + k.path + " cannot be shared: no copy of its type")
	}
}

// maxSecretBytes bounds a secret.
const maxSecretBytes = 4096

// resolveSecret makes link.token of link.tokenFile, when the latter is the
// stronger of the two.
func (l *loader) resolveSecret(read func(string) ([]byte, error)) {
	token, file := l.find("link.token"), l.find("link.tokenFile")
	secret, ok1 := token.to.(*string)
	name, ok2 := file.to.(*string)
	if !ok1 || !ok2 || *name == "" {
		return
	}
	switch t, f := token.origin.Kind.rank(), file.origin.Kind.rank(); {
	case t > f:
		*name, file.origin = "", token.origin
		return
	case t == f:
		l.problemWith(file.path, "%s is set as well, by %s: only one of them can hold", token.path, token.origin)
		return
	}
	path := *name
	if file.origin.Kind == FromFile && !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file.origin.Name), path)
	}
	*name = path
	data, err := read(path)
	if err != nil {
		l.problemWith(file.path, "%v", err)
		return
	}
	*secret = strings.TrimRight(string(data), "\r\n")
	token.origin = file.origin
	if *secret == "" {
		l.problemWith(file.path, "%s is empty", path)
	} else if err := checkSecret(*secret); err != nil {
		l.problemWith(file.path, "%s: %v", path, err)
	}
}
