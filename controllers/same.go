package controllers

import (
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
)

// isSame reports whether two values, or what two pointers point to, mean the same. Mostly they are alike to the last bit, which reflect finds many times as
// fast as apimachinery's comparison: that goes through the bytes of each JSON value one by one.
func isSame(a, b any) bool {
	return reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}
