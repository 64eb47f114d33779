// Package shop is a package behind a path.
package shop

// Order is a struct of another package.
type Order struct {
	ID   int
	Name string
}

// Total is a method by value.
func (o Order) Total() int { return o.ID * 2 }

// Limit is a package variable.
var Limit = 7

// Grade is an integer with named constants.
type Grade uint8

// The grades.
const (
	Low Grade = iota + 1
	Mid
	High
)

// Last is a grade in a variable.
var Last = High
