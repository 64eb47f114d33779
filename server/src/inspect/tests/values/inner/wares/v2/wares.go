// Package wares has a name that its path does not end in.
package wares

// Stock is a package variable.
var Stock = 12

// Ware is a type of the package.
type Ware struct{ Code int }

// Best is a variable of that type.
var Best = Ware{3}
