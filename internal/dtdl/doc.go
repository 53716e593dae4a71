// Package dtdl reads models written in the Digital Twins Definition Language, versions 2, 3 and 4, and checks values against
// them. It is pure: it takes bytes and gives a Model, and does no I/O.
//
// A model is accepted if Microsoft's .NET DTDLParser 1.1.3 accepts it; test/conformance/dtdl compares the two. Where the text of
// the specification and that parser differ, the parser is followed, because devices in the field were modelled against it.
//
// Parse works in three steps: the JSON becomes a tree (json.go), the tree becomes elements with links between them (parse.go,
// guided by the tables of metamodel.go and extensions.go), and the links are resolved and checked (resolve.go, extends.go,
// check.go). Every step reports all errors it finds. What is sound then becomes the exported types (model.go).
package dtdl
