package schema

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Source is what the Go files of packages say of their types and reflection does not
// know: doc comments and the constants of closed sets.
type Source struct {
	docs  map[string]string   // by "package.Type" or "package.Type.Field"
	enums map[string][]string // the string constants of a "package.Type", in their order
}

// Read parses the Go files of folders, tests left out.
func Read(folders ...string) (*Source, error) {
	s := &Source{docs: map[string]string{}, enums: map[string][]string{}}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		for _, e := range entries {
			if name := e.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, e.Name()), nil, parser.ParseComments)
			if err != nil {
				return nil, fmt.Errorf("read source: %w", err)
			}
			s.file(file)
		}
	}
	return s, nil
}

func (s *Source) file(file *ast.File) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				doc := spec.Doc
				if doc == nil {
					doc = gen.Doc
				}
				name := file.Name.Name + "." + spec.Name.Name
				s.docs[name] = text(doc)
				if st, ok := spec.Type.(*ast.StructType); ok {
					s.fields(name, st)
				}
			case *ast.ValueSpec:
				s.constants(file.Name.Name, gen.Tok, spec)
			}
		}
	}
}

// fields takes the comments of fields. A comment often speaks of several fields that
// follow it: one without a comment of its own gets the last above it that names it.
func (s *Source) fields(typeName string, st *ast.StructType) {
	var above []string
	for _, f := range st.Fields.List {
		doc := text(f.Doc)
		if doc == "" {
			doc = text(f.Comment)
		}
		if doc != "" {
			above = append(above, doc)
		}
		for _, name := range f.Names {
			about := doc
			for i := len(above) - 1; i >= 0 && about == ""; i-- {
				if slices.Contains(strings.FieldsFunc(above[i], notLetter), name.Name) {
					about = above[i]
				}
			}
			s.docs[typeName+"."+name.Name] = about
		}
	}
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// constants takes the values of a type's string constants.
func (s *Source) constants(pkg string, tok token.Token, spec *ast.ValueSpec) {
	name, ok := spec.Type.(*ast.Ident)
	if tok != token.CONST || !ok {
		return
	}
	for _, v := range spec.Values {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			of := pkg + "." + name.Name
			s.enums[of] = append(s.enums[of], constant.StringVal(constant.MakeFromLiteral(lit.Value, token.STRING, 0)))
		}
	}
}

// text is a comment in one line.
func text(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// key is the name of a type in the maps; a package's folder has its name.
func key(t reflect.Type) string { return path.Base(t.PkgPath()) + "." + t.Name() }

// doc is the comment of a type, or of its field.
func (s *Source) doc(t reflect.Type, field string) string {
	if field == "" {
		return s.docs[key(t)]
	}
	return s.docs[key(t)+"."+field]
}

// enum is the closed set of a string type, nil when it has none.
func (s *Source) enum(t reflect.Type) []string { return slices.Clone(s.enums[key(t)]) }
